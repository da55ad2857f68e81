"""One client's incremental stream, all types aggregated: a state machine to be driven by hand.

Feed it ``receive(request)`` and ``changed(type_url, names)``; send what ``flush()`` returns. It does no I/O and holds
no resource, only names and versions. Source: xDS protocol, "Incremental xDS" and "Aggregated Discovery Service".
"""

from collections.abc import Iterable, Sequence
from itertools import count

from isthmus.xds.limits import LIMITS, Limits
from isthmus.xds.resource import DeltaRequest, DeltaResponse, Rejection, Resource, ResourceView
from isthmus.xds.subscription import Subscription


class DeltaStream:
    """The server's side of one stream.

    ``order`` names the types in the order in which additions are safe (clusters before the listeners that use them);
    removals go out the other way round, after all additions (xDS protocol, "Eventual consistency considerations").
    """

    def __init__(self, view: ResourceView, *, order: Sequence[str] = (), limits: Limits = LIMITS) -> None:
        self._view = view
        self._limits = limits
        self._order = {type_url: rank for rank, type_url in enumerate(order)}
        self._subscriptions: dict[str, Subscription] = {}
        self._unanswered: dict[str, None] = {}
        self._in_flight: dict[str, tuple[str, ...]] = {}
        self._names_in_flight = 0
        self._nonces = count(1)

    def receive(self, request: DeltaRequest) -> Rejection | None:
        """Take one request; a NACK is returned to be told to someone, and otherwise changes nothing.

        Raises:
            StreamLimitError: the client has more open than a stream may.
        """
        self._limits.check_request(request)
        rejection = self._acknowledge(request)
        subscription = self._subscriptions.get(request.type_url)
        if subscription is None:
            subscription = Subscription(request.type_url, self._limits.names)
            self._subscriptions[request.type_url] = subscription
            subscription.start(request, self._view)
            self._unanswered[request.type_url] = None
        else:
            subscription.update(request, self._view)
        held = sum(each.held for each in self._subscriptions.values())
        self._limits.check_subscriptions(types=len(self._subscriptions), held=held)
        return rejection

    @property
    def forgotten(self) -> int:
        """How many names that the client asked for are not kept in mind: there is nothing of them, and too many."""
        return sum(each.forgotten for each in self._subscriptions.values())

    def changed(self, type_url: str, names: Iterable[str] | None) -> bool:
        """Note that resources (None: any of the type) may have changed; tell whether there may be something to send."""
        subscription = self._subscriptions.get(type_url)
        return subscription is not None and subscription.changed(names, self._view)

    def flush(self) -> list[DeltaResponse]:
        """What the client has to be sent now: one response for each type with news, additions first.

        Raises:
            StreamLimitError: too much of what the client was sent is not acknowledged.
        """
        ranked = sorted(self._subscriptions.values(), key=lambda each: self._order.get(each.type_url, len(self._order)))
        responses = []
        for subscription in ranked:
            resources = tuple(subscription.take_updates(self._view))
            self._renew(need for resource in resources for need in resource.needs)
            if resources or subscription.type_url in self._unanswered:
                responses.append(self._response(subscription.type_url, resources=resources))
        for subscription in reversed(ranked):
            removed = tuple(subscription.take_removals())
            if removed:
                responses.append(self._response(subscription.type_url, removed=removed))
        self._unanswered.clear()
        self._limits.check_unanswered(responses=len(self._in_flight), names=self._names_in_flight)
        return responses

    def _renew(self, needs: Iterable[tuple[str, str]]) -> None:
        for type_url, name in needs:
            if type_url in self._subscriptions:
                self._subscriptions[type_url].renew(name)

    def _acknowledge(self, request: DeltaRequest) -> Rejection | None:
        names = self._in_flight.pop(request.nonce, ())
        self._names_in_flight -= len(names)
        if request.error:
            return Rejection(request.type_url, names, request.error)
        return None

    def _response(
        self, type_url: str, *, resources: tuple[Resource, ...] = (), removed: tuple[str, ...] = ()
    ) -> DeltaResponse:
        nonce = str(next(self._nonces))
        names = self._in_flight[nonce] = (*(resource.name for resource in resources), *removed)
        self._names_in_flight += len(names)
        return DeltaResponse(type_url, nonce, resources, removed)
