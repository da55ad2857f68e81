"""Who was refused at our ingress gateways, as they report it: a peer that tries to reach us, most likely.

One caller for each gateway and identity is remembered, for as long as it goes on trying; what it says of itself is a
claim, shown to the administrator and used for nothing.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from isthmus.federation.peer_conditions import RefusedCaller
from isthmus.reports import GatewayReport

REMEMBERED_S: Final = 60.0
"""A peer of another make may wait so long between two attempts."""
MAX_REMEMBERED: Final = 1000
_FORBIDDEN: Final = 403


@dataclass(frozen=True, slots=True)
class _Seen:
    caller: RefusedCaller
    at: float


class Callers:
    """The refused callers of all ingress gateways; ``changed`` hears of a gateway with a new one."""

    def __init__(self, *, changed: Callable[[str], None], now: Callable[[], float]) -> None:
        """``now`` gives seconds that only grow."""
        self._changed = changed
        self._now = now
        self._seen: OrderedDict[tuple[str, str], _Seen] = OrderedDict()

    def reported(self, gateway: str, report: GatewayReport) -> None:
        """An ingress gateway reports a call that failed."""
        caller = _refused(gateway, report)
        if caller is None:
            return
        key = gateway, caller.identity
        before = self._seen.pop(key, None)
        self._seen[key] = _Seen(caller, self._now())
        while len(self._seen) > MAX_REMEMBERED:
            self._seen.popitem(last=False)
        if before is None or before.caller != caller:
            self._changed(gateway)

    def refused(self, gateway: str, *, others: frozenset[str], after: float = 0.0) -> RefusedCaller | None:
        """Who was refused last at the gateway since ``after``, but ``others``, the identities of its other peers."""
        oldest = max(after, self._now() - REMEMBERED_S)
        found = [
            seen
            for (name, identity), seen in self._seen.items()
            if name == gateway and identity not in others and seen.at >= oldest
        ]
        return found[-1].caller if found else None


def _refused(gateway: str, report: GatewayReport) -> RefusedCaller | None:
    """The caller that a report is about; None if it was let in, whatever became of its call."""
    if report.failure and not report.upstream:
        detail = report.failure
    elif report.status == _FORBIDDEN and "rbac" in report.details:
        detail = report.details
    else:
        return None
    return RefusedCaller(gateway=gateway, source=report.source, identity=report.identity, detail=detail)
