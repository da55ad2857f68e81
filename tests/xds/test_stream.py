"""The state machine of incremental xDS, driven by hand. Sections: xDS protocol, "Incremental xDS"."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from isthmus.xds import DeltaRequest, DeltaResponse, DeltaStream, Resource, ResourceTable

CLUSTER = "type.example/Cluster"
LISTENER = "type.example/Listener"


class Client:
    """The other end, as simple as can be: it applies what it is sent."""

    def __init__(self, table: ResourceTable) -> None:
        self.stream = DeltaStream(table, order=(CLUSTER, LISTENER))
        self.held: dict[str, dict[str, str]] = {CLUSTER: {}, LISTENER: {}}
        table.listen(self.stream.changed)

    def request(
        self, type_url: str = CLUSTER, *, subscribe: Iterable[str] = (), unsubscribe: Iterable[str] = ()
    ) -> None:
        assert self.stream.receive(DeltaRequest(type_url, tuple(subscribe), tuple(unsubscribe))) is None
        for name in unsubscribe:
            self.held[type_url].pop(name, None)

    def expect(self) -> list[DeltaResponse]:
        responses = self.stream.flush()
        for response in responses:
            for resource in response.resources:
                self.held[response.type_url][resource.name] = resource.version
            for name in response.removed:
                self.held[response.type_url].pop(name, None)
            assert self.stream.receive(DeltaRequest(response.type_url, nonce=response.nonce)) is None
        return responses


def resource(name: str, version: str = "1") -> Resource:
    return Resource(name, version, b"")


def table_with(*names: str) -> ResourceTable:
    table = ResourceTable()
    table.replace(CLUSTER, [resource(name) for name in names])
    return table


def names(responses: list[DeltaResponse]) -> list[tuple[list[str], list[str]]]:
    return [([each.name for each in response.resources], list(response.removed)) for response in responses]


def test_first_request_without_names_is_a_wildcard() -> None:
    """A first request that names nothing subscribes to all eager resources."""
    client = Client(table_with("a", "b"))
    client.request()
    assert names(client.expect()) == [(["a", "b"], [])]
    assert client.expect() == []


def test_first_request_is_answered_even_with_nothing() -> None:
    """A client that waits for its first response gets one, be it empty."""
    client = Client(ResourceTable())
    client.request()
    assert names(client.expect()) == [([], [])]


def test_a_change_costs_one_resource() -> None:
    """After a change only what changed is sent."""
    table = table_with("a", "b", "c")
    client = Client(table)
    client.request()
    client.expect()
    table.put(CLUSTER, resource("b", "2"))
    assert names(client.expect()) == [(["b"], [])]


def test_unknown_name_is_answered_as_removed() -> None:
    """A client that asks for a name that does not exist is told so, once."""
    client = Client(ResourceTable())
    client.request(subscribe=["ghost"])
    assert names(client.expect()) == [([], []), ([], ["ghost"])]
    assert client.expect() == []


def test_on_demand_resource_is_made_only_when_asked_for() -> None:
    """What nobody subscribed to is never made."""
    made: list[str] = []

    def make(name: str) -> Resource:
        made.append(name)
        return resource(name)

    table = ResourceTable({CLUSTER: make})
    client = Client(table)
    client.request()
    client.expect()
    table.invalidate(CLUSTER, ["one", "two"])
    assert client.expect() == []
    assert made == []
    client.request(subscribe=["two"])
    assert names(client.expect()) == [(["two"], [])]
    assert set(made) == {"two"}


def test_reconnecting_client_gets_only_differences() -> None:
    """Versions the client kept are compared: equal ones are not sent again, vanished ones are removed."""
    table = table_with("same", "newer")
    stream = DeltaStream(table)
    stream.receive(DeltaRequest(CLUSTER, initial_versions={"same": "1", "newer": "0", "gone": "7"}))
    assert names(stream.flush()) == [(["newer"], []), ([], ["gone"])]


def test_nack_is_reported_and_leaves_the_last_good_version() -> None:
    """A NACK names the resources it is about, and the same version is not sent again."""
    table = table_with("a")
    stream = DeltaStream(table)
    stream.receive(DeltaRequest(CLUSTER))
    (response,) = stream.flush()
    rejection = stream.receive(DeltaRequest(CLUSTER, nonce=response.nonce, error="no such filter"))
    assert rejection is not None
    assert (rejection.names, rejection.reason) == (("a",), "no such filter")
    assert stream.flush() == []
    table.listen(stream.changed)
    table.put(CLUSTER, resource("a", "2"))
    assert names(stream.flush()) == [(["a"], [])]


def test_resubscribing_sends_again() -> None:
    """A client that subscribes again to a name is sent it again, whatever it holds."""
    client = Client(table_with("a"))
    client.request(subscribe=["a"])
    client.expect()
    client.request(subscribe=["a"])
    assert names(client.expect()) == [(["a"], [])]


def test_what_a_resource_needs_is_sent_again_with_it() -> None:
    """A client that waits for something it has already is sent it once more, right after what needs it; once."""
    table = table_with("a")
    table.replace(LISTENER, [resource("l"), resource("m")])
    client = Client(table)
    client.request()
    client.request(LISTENER, subscribe=["l"])
    client.expect()
    table.put(CLUSTER, Resource("b", "1", b"", needs=((LISTENER, "l"), (LISTENER, "m"), ("type.example/Route", "r"))))
    assert names(client.expect()) == [(["b"], []), (["l"], [])]
    assert client.expect() == []


def test_additions_precede_removals_and_follow_the_order_of_types() -> None:
    """Clusters are added before listeners and removed after them."""
    table = table_with("old")
    table.replace(LISTENER, [resource("old")])
    client = Client(table)
    client.request(LISTENER)
    client.request(CLUSTER)
    client.expect()
    table.replace(LISTENER, [resource("new")])
    table.replace(CLUSTER, [resource("new")])
    responses = client.expect()
    assert [(each.type_url, bool(each.removed)) for each in responses] == [
        (CLUSTER, False),
        (LISTENER, False),
        (LISTENER, True),
        (CLUSTER, True),
    ]


def test_unsubscribing_from_the_wildcard_keeps_named_ones() -> None:
    """After the wildcard ends, only names subscribed to are followed."""
    table = table_with("a", "b")
    client = Client(table)
    client.request(subscribe=["*", "a"])
    client.expect()
    client.request(unsubscribe=["*"])
    table.put(CLUSTER, resource("a", "2"))
    table.put(CLUSTER, resource("b", "2"))
    assert names(client.expect()) == [(["a"], [])]


@given(
    st.dictionaries(st.text(max_size=3), st.text(max_size=2)), st.dictionaries(st.text(max_size=3), st.text(max_size=2))
)
def test_any_kept_state_converges(kept: dict[str, str], have: dict[str, str]) -> None:
    """Whatever a client kept from earlier, after the first exchange it holds what the server has."""
    table = ResourceTable()
    table.replace(CLUSTER, [resource(name, version) for name, version in have.items()])
    stream = DeltaStream(table)
    stream.receive(DeltaRequest(CLUSTER, initial_versions=kept))
    held = dict(kept)
    for response in stream.flush():
        held.update({each.name: each.version for each in response.resources})
        for name in response.removed:
            del held[name]
    assert held == have


NAMES = st.sampled_from(["a", "b", "c", "d"])


class Convergence(RuleBasedStateMachine):
    """Under any sequence of changes and subscriptions, after a flush the client holds exactly what it may."""

    def __init__(self) -> None:
        super().__init__()
        self.lazy: dict[str, str] = {}
        self.table = ResourceTable({CLUSTER: self._make})
        self.client = Client(self.table)
        self.client.request(subscribe=["*"])
        self.named: set[str] = set()

    def _make(self, name: str) -> Resource | None:
        return resource(name, self.lazy[name]) if name in self.lazy else None

    @rule(name=NAMES, version=st.sampled_from(["1", "2"]))
    def put_eager(self, name: str, version: str) -> None:
        self.table.put(CLUSTER, resource(name, version))

    @rule(name=NAMES)
    def remove_eager(self, name: str) -> None:
        self.table.remove(CLUSTER, name)

    @rule(name=NAMES, version=st.sampled_from(["3", "4"]))
    def put_lazy(self, name: str, version: str) -> None:
        self.lazy[name] = version
        self.table.invalidate(CLUSTER, [name])

    @rule(name=NAMES)
    def remove_lazy(self, name: str) -> None:
        self.lazy.pop(name, None)
        self.table.invalidate(CLUSTER, [name])

    @rule(lazy=st.dictionaries(NAMES, st.sampled_from(["5", "6"])))
    def replace_what_makes_them(self, lazy: dict[str, str]) -> None:
        self.lazy = lazy
        self.table.refresh(CLUSTER)

    @rule(name=NAMES)
    def subscribe(self, name: str) -> None:
        self.named.add(name)
        self.client.request(subscribe=[name])

    @rule(name=NAMES)
    def unsubscribe(self, name: str) -> None:
        self.named.discard(name)
        self.client.expect()
        eager = self.table.is_eager(CLUSTER, name)
        held = self.client.held[CLUSTER].get(name)
        self.client.request(unsubscribe=[name])
        if eager and held is not None:
            self.client.held[CLUSTER][name] = held

    @invariant()
    def converged(self) -> None:
        self.client.expect()
        wanted = set(self.table.eager(CLUSTER)) | self.named
        expected = {name: found.version for name in wanted if (found := self.table.get(CLUSTER, name)) is not None}
        assert self.client.held[CLUSTER] == expected


TestConvergence = Convergence.TestCase
