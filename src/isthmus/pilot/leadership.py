"""Which replica of the control plane writes what all of them share: the one that holds a Lease.

Every replica watches, serves and writes its own entry in the peers' status. Losing the lease ends nothing but the
writing: gateways keep their streams, and whoever leads next goes on from what is stored.
"""

import asyncio
from collections.abc import Callable
from typing import Final, NoReturn

import structlog

from isthmus.kube import Candidacy, Candidate, Client, LeaseLost

log = structlog.get_logger(__name__)

LEASE: Final = "servicemesh-federation"
"""The name that OpenShift Service Mesh gives to this election."""


class Leadership:
    """Whether this replica leads."""

    def __init__(self, client: Client, *, namespace: str, pod: str) -> None:
        """``pod`` is the name of this replica, which no other has."""
        self.is_leading = False
        self._candidate = Candidate(client, Candidacy(name=LEASE, namespace=namespace, identity=pod))
        self._subscribers: list[Callable[[], None]] = []

    def subscribe(self, subscriber: Callable[[], None]) -> None:
        """Call ``subscriber`` whenever this replica begins to lead, or stops."""
        self._subscribers.append(subscriber)

    async def run(self) -> NoReturn:
        """Lead whenever that may be, until cancelled."""
        while True:
            try:
                async with self._candidate.leading():
                    self._set(leading=True)
                    await asyncio.Event().wait()
            except* LeaseLost as lost:
                log.warning("leading no more, serving goes on", reason=str(lost.exceptions[0]))
            finally:
                self._set(leading=False)

    def _set(self, *, leading: bool) -> None:
        if self.is_leading != leading:
            self.is_leading = leading
            for subscriber in self._subscribers:
                subscriber()
