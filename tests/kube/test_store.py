"""The store and its index."""

from hypothesis import given
from hypothesis import strategies as st
from lightkube.resources.core_v1 import ConfigMap
from tests.kube.objects import config_map

from isthmus.kube import Change, Index, ObjectKey, Store

NAMES = st.sampled_from(["a", "b", "c", "d"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), NAMES, st.integers(1, 3)),
        st.tuples(st.just("remove"), NAMES, st.just(0)),
        st.tuples(st.just("retain"), NAMES, st.just(0)),
    )
)


def test_change_is_told_with_old_and_new() -> None:
    """A subscriber gets the object before and after, and sees the store as it is after the change."""
    store: Store[ConfigMap] = Store()
    seen: list[tuple[Change[ConfigMap], ConfigMap | None]] = []
    store.subscribe(lambda change: seen.append((change, store.get(change.key))))
    key, first, second = ObjectKey("red", "a"), config_map("a"), config_map("a", version="2")
    store.put(first)
    store.put(second)
    store.remove(key)
    assert seen == [
        (Change(key, None, first), first),
        (Change(key, first, second), second),
        (Change(key, second, None), None),
    ]


def test_same_version_is_no_change() -> None:
    """An object that is there already, as after a list, is told to nobody."""
    store: Store[ConfigMap] = Store()
    store.put(config_map("a"))
    seen: list[Change[ConfigMap]] = []
    store.subscribe(seen.append)
    seen.clear()
    store.put(config_map("a"))
    assert seen == []


def test_late_subscriber_gets_what_is_there() -> None:
    """A subscriber that comes late is told of every object as if it were new."""
    store: Store[ConfigMap] = Store()
    store.put(config_map("a"))
    seen: list[Change[ConfigMap]] = []
    store.subscribe(seen.append)
    assert [(change.key.name, change.old) for change in seen] == [("a", None)]


def test_subscription_ends() -> None:
    """Who has left is told nothing."""
    store: Store[ConfigMap] = Store()
    seen: list[Change[ConfigMap]] = []
    leave = store.subscribe(seen.append)
    leave()
    store.put(config_map("a"))
    assert seen == []


@given(STEPS)
def test_subscriber_can_keep_a_copy(steps: list[tuple[str, str, int]]) -> None:
    """Whatever happens, the changes alone rebuild the store, and an index agrees with it."""
    store: Store[ConfigMap] = Store()
    copy: dict[ObjectKey, ConfigMap] = {}
    index = Index(store, lambda obj: [(obj.data or {})["parity"], "all"])

    def follow(change: Change[ConfigMap]) -> None:
        assert copy.get(change.key) is change.old
        copy.pop(change.key, None)
        if change.new is not None:
            copy[change.key] = change.new

    store.subscribe(follow)
    for action, name, version in steps:
        match action:
            case "put":
                store.put(config_map(name, version=str(version), parity=str(version % 2)))
            case "remove":
                store.remove(ObjectKey("red", name))
            case "retain":
                store.retain({ObjectKey("red", name)})
    assert copy == {key: store.get(key) for key in store.keys()}  # noqa: SIM118 -- a store is no dict
    assert index.get("all") == [copy[key] for key in sorted(copy)]
    for parity in ("0", "1"):
        assert index.get(parity) == [copy[key] for key in sorted(copy) if (copy[key].data or {})["parity"] == parity]


def test_rejected_object_is_known_by_name() -> None:
    """An object that cannot be understood is not there, but nor is it gone: what was known of it stays."""
    store: Store[ConfigMap] = Store()
    known = config_map("a")
    store.put(known)
    store.reject(ObjectKey("red", "a"), "broken")
    store.reject(ObjectKey("red", "b"), "broken")
    assert store.get(ObjectKey("red", "a")) is known
    assert store.rejected == {ObjectKey("red", "a"): "broken", ObjectKey("red", "b"): "broken"}
    store.put(config_map("a", version="2"))
    store.retain({ObjectKey("red", "a")})
    assert store.rejected == {}
