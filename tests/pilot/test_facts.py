"""What is known of our own cluster and of the gateways, as facts."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.envoy import plans
from tests.kube.lab import connected

from isthmus.federation.peer import Mesh
from isthmus.pilot.callers import Callers
from isthmus.pilot.cluster import Cluster
from isthmus.pilot.facts import FactFinder
from isthmus.pilot.gateways import Gateways

pytestmark = pytest.mark.slow


async def test_kinds_that_cannot_be_followed_are_named_since_the_first(tmp_path: Path) -> None:
    """Which kinds are stale, and since when the oldest is; nothing while all can be followed."""
    async with connected(tmp_path) as (_, client):
        cluster = Cluster(client, namespace="red-mesh-system")
        mesh = Mesh("red-mesh", "red-mesh-system", plans.bundle("red"))
        facts = FactFinder(
            cluster=cluster,
            gateways=Gateways(mesh, "istiod", exports={}, endpoints=lambda _: []),
            callers=Callers(changed=lambda _: None, now=lambda: 0.0),
            links={},
            started_at=0.0,
        )
        assert facts.stale() == ""
        cluster.services.stale_since = datetime(2026, 11, 25, 12, 0, 5, tzinfo=UTC)
        cluster.pods.stale_since = datetime(2026, 11, 25, 12, 0, 1, tzinfo=UTC)
        assert facts.stale() == (
            "Pod, Service cannot be followed since 2026-11-25T12:00:01Z: what is known is as old as that"
        )
