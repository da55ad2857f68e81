"""What the control plane tells Prometheus: real links and gateways behind the numbers, and what a scrape costs."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from tests.pilot.red import EXPORT_ALL, IMPORT_ALL, Red, peer, red_cluster, service, settings
from tests.pilot.scraping import scrape, value
from tests.pilot.test_control_plane import EGRESS, REVIEWS, discovery, gateway
from tests.prometheus import series
from tests.waiting import until

from isthmus.discovery import ExportFeed
from isthmus.envoy.message import LISTENER
from isthmus.federation.imports import ImportedName, ImportRules
from isthmus.federation.messages import Health, ServiceMessage
from isthmus.identity import fingerprint
from isthmus.logs import Levels
from isthmus.pilot.app import ControlPlane
from isthmus.pilot.link import Link
from isthmus.pilot.measured import MEASURED


async def wait(name: str, expected: float, **labels: str) -> None:
    """Wait until a series has this value."""

    async def is_so() -> bool:
        return await value(name, **labels) == expected

    await until(is_so)


@pytest.mark.slow
async def test_a_link_is_counted_from_both_ends(tmp_path: Path) -> None:
    """Watch, lists, events and what is shared are there while the link stands; when it falls, the metrics say so."""
    async with red_cluster(tmp_path) as red, red.control_plane():
        await red.apply(REVIEWS, red.green_root, peer(), EXPORT_ALL, IMPORT_ALL)
        async with red.green_reachable():
            await wait("link_watch_up", 1, peer="green-mesh")
            await wait("imported_services", 1, peer="green-mesh", state="ready")
            red.feed.put(service("details"))
            await wait("imported_services", 2, peer="green-mesh", state="ready")
            await _green_watches(red)
            told = await scrape()
            now = datetime.now(UTC).timestamp()
            of_green = {name: number for (name, labels), number in told.items() if ("peer", "green-mesh") in labels}
            assert of_green["isthmus_discovery_events_received_total"] == 1
            assert of_green["isthmus_discovery_lists_received_total"] == 1
            assert of_green["isthmus_discovery_connects_total"] == 1
            assert of_green["isthmus_discovery_mismatches_total"] == of_green["isthmus_discovery_resyncs_total"] == 0
            assert of_green["isthmus_discovery_received_bytes_total"] > 100
            assert of_green["isthmus_discovery_lists_sent_total"] == 1
            assert of_green["isthmus_discovery_events_sent_total"] == 1
            assert of_green["isthmus_discovery_sent_bytes_total"] > 100
            assert of_green["isthmus_exported_services"] == 0
            assert of_green["isthmus_offered_services"] == 2
            assert now - 60 < of_green["isthmus_link_last_sync_timestamp_seconds"] <= now
            assert of_green["isthmus_peer_accepted"] == 1
        await wait("link_watch_up", 0, peer="green-mesh")
        await wait("imported_services", 2, peer="green-mesh", state="stale")
        assert await value("link_away_since_timestamp_seconds", peer="green-mesh") is not None
        await red.kubectl("delete", "servicemeshpeer", "green-mesh")
        await wait_absent("link_watch_up", peer="green-mesh")


async def wait_absent(name: str, **labels: str) -> None:
    """Wait until there is no such series."""

    async def is_absent() -> bool:
        return await value(name, **labels) is None

    await until(is_absent)


async def _green_watches(red: Red) -> None:
    """Green's control plane fetches our list, and is told over its watch that the one service is gone."""
    async with discovery(red) as client, client.stream("GET", "/v1/watch/green-mesh") as watch:
        await client.get("/v1/services/green-mesh")
        await wait("link_remotes", 1, peer="green-mesh")
        await red.kubectl("delete", "exportedserviceset", "green-mesh")
        async for line in watch.aiter_lines():
            if line:
                break
        await wait("discovery_events_sent_total", 1, peer="green-mesh")


@pytest.mark.slow
async def test_pushes_are_timed_and_refusals_counted(tmp_path: Path) -> None:
    """A gateway's ACK ends the time of a push; a NACK counts for the gateway that sent it."""
    async with red_cluster(tmp_path) as red, red.control_plane():
        await red.apply(red.green_root, peer())
        async with gateway(red, EGRESS) as stream:
            await stream.request(LISTENER, metadata={"POD_IP": "127.79.0.20"})
            await stream.nack(await stream._read(), "no")
            await wait("xds_rejections_total", 1, gateway="egress-green-mesh", type="Listener")
            await wait("gateway_rejects", 1, gateway="egress-green-mesh")
            told = await scrape()
            listeners = frozenset({("type", "Listener")})
            assert told["isthmus_xds_push_duration_seconds_count", listeners] == 1
            assert 0 < told["isthmus_xds_push_duration_seconds_sum", listeners] < 5
            assert told["isthmus_xds_pushes_total", listeners] >= 1
            assert told["isthmus_gateway_streams", frozenset({("gateway", "egress-green-mesh")})] == 1
        await wait("gateway_streams", 0, gateway="egress-green-mesh")


@pytest.mark.slow
async def test_certificates_leader_and_the_api_are_told(tmp_path: Path) -> None:
    """When which certificate ends, who leads, whether the API can be followed: an alert can ask for each."""
    async with red_cluster(tmp_path) as red, red.control_plane():
        await red.apply(red.green_root, peer())
        await wait("leader", 1)
        await wait("peer_accepted", 1, peer="green-mesh")
        told = await scrape()
        ends = {
            (dict(labels)["kind"], dict(labels)["peer"]): (dict(labels)["fingerprint"], number)
            for (name, labels), number in told.items()
            if name == "isthmus_certificate_expiry_timestamp_seconds"
        }
        green = red.green.certificate
        assert ends["peer_root", "green-mesh"] == (fingerprint(green), green.not_valid_after_utc.timestamp())
        assert ends["ca", ""] == ends["root", ""]
        left = ends["pilot", ""][1] - datetime.now(UTC).timestamp()
        assert timedelta(hours=23) < timedelta(seconds=left) <= timedelta(hours=24)
        watched = {
            dict(labels)["kind"]: number for (name, labels), number in told.items() if name.endswith("kube_watch_up")
        }
        assert watched["ServiceMeshPeer"] == watched["Service"] == 1
        assert "isthmus_build_info" in {name for name, _ in told}
        assert told["isthmus_status_writes_total", frozenset({("kind", "ServiceMeshPeer")})] >= 1


def _of_peer(name: str, count: int) -> Iterator[ServiceMessage]:
    for number in range(count):
        each = service(f"s{number}")
        hostname = each.hostname.replace("red-mesh", name)
        yield msgspec.structs.replace(each, hostname=hostname, health=Health(number % 2, 2))


def _add_peer(plane: ControlPlane, name: str, *, imports: int) -> None:
    """A link as it is made when a ServiceMeshPeer is seen, with so many imports."""
    feed = plane._exporting.feeds[name] = ExportFeed()
    link = plane._links[name] = Link(
        name,
        pod="istiod-0",
        trust_bundle=plane._mesh.bundle,
        feed=lambda: feed,
        status_changed=lambda: None,
        imports_changed=lambda _: None,
    )
    link.imports.configure(ImportRules((lambda called: ImportedName(called, f"{called.name}.{name}-imports.local"),)))
    link.remember(_of_peer(name, imports))
    plane._gateways._streams[f"egress-{name}"] = plane._gateways._streams[f"ingress-{name}"] = 1


@pytest.mark.slow
async def test_a_scrape_stays_small(tmp_path: Path) -> None:
    """A hundred peers and ten thousand imports: no series for a service."""
    async with red_cluster(tmp_path) as red:
        plane = ControlPlane(red.client, red.authority, settings(), Levels())
        for number in range(100):
            _add_peer(plane, f"peer-{number}", imports=100)
        page = await plane._metrics.page()
        told = series(page.body.decode())
        assert told["isthmus_imported_services", frozenset({("peer", "peer-7"), ("state", "not_ready")})] == 50
        assert len(told) < 100 * 30


def test_names_follow_the_conventions() -> None:
    """One prefix, base units, and a text for each; a counter gets its suffix from the library."""
    for each in MEASURED:
        assert each.name.startswith("isthmus_")
        assert not each.name.endswith("_total")
        assert each.meaning.endswith(".")
    assert len({each.name for each in MEASURED}) == len(MEASURED)
