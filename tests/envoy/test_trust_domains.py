"""The trust domains of one mesh, in real Envoys: its control plane is known by an identity of any of them."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.envoy.conftest import Mesh, Proxy
from tests.envoy.test_data_path import (
    EGRESS,
    PILOT,
    Federation,
    client_context,
    discover,
    echo_pilot,
    federation,
    resources,
    right_headers,
    wait_served,
)

from isthmus.envoy import cluster, egress, message
from isthmus.federation.plan import ControlPlane, EgressPlan, RemotePeer
from isthmus.identity import SpiffeId, TrustDomain, X509Svid

pytestmark = [pytest.mark.envoy, pytest.mark.slow]
__all__ = ["federation"]
FORMER = TrustDomain("former.local")


class Moving(Mesh):
    """A mesh whose certificates are still of its former trust domain."""

    def account(self, name: str) -> SpiffeId:
        return replace(super().account(name), trust_domain=FORMER)

    def svid(self, identity: SpiffeId) -> X509Svid:
        return self.authority.issue_svid(identity, lifetime=timedelta(hours=1), now=datetime.now(UTC))


async def test_the_control_plane_is_known_by_its_aliases(federation: Federation, folder: Path) -> None:
    """The egress gateway takes calls from, and the ingress gateway passes calls to, a control plane whose certificate
    is of an alias; of any other domain it is a stranger, though its root is right."""
    await wait_served()
    calling = Moving(federation.red.domain, federation.red.authority)
    answering = Moving(federation.green.domain, federation.green.authority)
    pilot = client_context(calling, "istiod", folder / "out")
    headers = right_headers(federation)
    async with await echo_pilot(answering, folder / "in"), asyncio.timeout(20):
        assert (await discover(pilot, EGRESS, "/v1/watch", **headers))[0] == 0
        _know(federation.egress, calling, federation.peer())
        while (status := (await discover(pilot, EGRESS, "/v1/watch", **headers))[0]) == 0:
            await asyncio.sleep(0.05)
        assert status == 503  # the ingress gateway does not know its control plane yet
        _know(federation.ingress, answering)
        while (answer := await discover(pilot, EGRESS, "/v1/watch", **headers))[0] == 503:
            await asyncio.sleep(0.05)
        assert answer == (200, "/v1/watch/red-mesh")


def _know(gateway: Proxy, mesh: Moving, *peers: RemotePeer) -> None:
    """Let a gateway know its control plane by the former trust domain, too."""
    known = ControlPlane(PILOT, Mesh(mesh.domain, mesh.authority).account("istiod"), aliases=(mesh.account("istiod"),))
    table = gateway.table
    if table.get(message.CLUSTER, cluster.PILOT) is not None:
        table.put(message.CLUSTER, *resources([cluster.pilot(known)]))
    else:
        table.put(message.LISTENER, *resources([egress.discovery(EgressPlan(known, peers), EGRESS)]))
