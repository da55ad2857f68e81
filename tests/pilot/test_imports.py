"""Imports as Kubernetes objects: the real control plane on a lab's API server, with a peer that comes and goes."""

import asyncio
import itertools
import json
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import dns.asyncquery
import dns.message
import dns.rcode
import msgspec
import pytest
from lightkube.resources.core_v1 import Service
from lightkube.resources.discovery_v1 import EndpointSlice
from tests.pilot.red import (
    EGRESS_IP,
    IMPORT_ALL,
    IMPORT_AS_LOCAL,
    NAMESPACE,
    POD_IP,
    RATINGS,
    Red,
    is_ready,
    peer,
    red_cluster,
    service,
    settings,
    without_server_fields,
)
from tests.pilot.scraping import value
from tests.pilot.test_conditions import wait_reason
from tests.waiting import until

from isthmus.federation.messages import MAX_PORTS, Health, ServicePort, parse_service_list
from isthmus.federation.ports import FIRST_PORT, LAST_PORT
from isthmus.kube import Client, Delete, carry_out
from isthmus.kube.store import metadata_of
from isthmus.logs import Levels
from isthmus.pilot.app import ControlPlane
from isthmus.pilot.objects import import_names
from isthmus.pilot.settings import DNS_PORT

pytestmark = pytest.mark.slow
IMPORTS = {
    "apiVersion": "federation.maistra.io/v1",
    "kind": "ImportedServiceSet",
    "metadata": {"name": "green-mesh", "namespace": NAMESPACE},
}


async def federate(red: Red, imports: str = IMPORT_ALL) -> None:
    """Describe green as a peer, and import from it."""
    await red.apply(red.green_root, peer(), imports)


def ports_of(made: Service) -> list[tuple[str | None, int, object]]:
    """Name, port and gateway port."""
    return [(each.name, each.port, each.targetPort) for each in (made.spec.ports if made.spec else None) or ()]


def addresses_of(made: EndpointSlice) -> list[str]:
    """Where it leads."""
    return [address for each in made.endpoints or () for address in each.addresses]


async def test_an_import_is_a_service_that_leads_to_the_egress_gateway(tmp_path: Path) -> None:
    """What green exports and we import has a Service, an EndpointSlice to the gateway's pods, and a name in DNS."""
    async with red_cluster(tmp_path) as red, red.green_reachable(), red.control_plane():
        await federate(red)
        (made,) = await red.wait_services(1)
        assert ports_of(made) == [("http", 9080, 16000)]
        behind = await red.import_slice()
        assert addresses_of(behind) == [EGRESS_IP]
        assert [(each.name, each.port) for each in behind.ports or ()] == [("http", 16000)]
        query = dns.message.make_query("ratings.bookinfo.svc.green-mesh-imports.local", "A")
        answer = await dns.asyncquery.udp(query, POD_IP, port=DNS_PORT, timeout=5)
        assert made.spec is not None
        assert [item.to_text() for item in answer.answer[0]] == [made.spec.clusterIP]
        listed = {
            "exportedName": RATINGS.hostname,
            "localService": {
                "hostname": "ratings.bookinfo.svc.green-mesh-imports.local",
                "name": "ratings",
                "namespace": "bookinfo",
            },
        }

        async def is_listed() -> bool:
            return (await red.status("importedserviceset")).get("importedServices") == [listed]

        await until(is_listed)


async def test_what_we_have_written_is_not_looked_at_again(tmp_path: Path) -> None:
    """The events of our own writes are no work: thousands of them would keep the next change waiting."""
    async with red_cluster(tmp_path) as red, red.green_reachable(), red.control_plane():
        await federate(red)
        for number in range(40):
            red.feed.put(service(f"s{number}"))
        await wait_slices(red, 41)
        red.feed.put(service("last"))  # once it is written, the events of those before it have been heard
        await wait_slices(red, 42)
        assert await value("work_queue_attempts_total", queue="imports") == 42


class _LateEvents(Client):
    """Hears of changes some time after they were made, and after the answers to its own writes."""

    def __init__(self, inner: Client) -> None:
        super().__init__(inner.api, inner._http, server=inner._server, field_manager="istiod")

    @asynccontextmanager
    async def stream(self, path: str, params: Mapping[str, str], *, doing: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Each piece of a watch, later."""
        async with super().stream(path, params, doing=doing) as chunks:
            yield _later(chunks)


async def _later(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        await asyncio.sleep(0.1)
        yield chunk


async def test_what_we_have_written_is_known_when_it_is_heard_of_late(tmp_path: Path) -> None:
    """A new Service, a new slice and a changed one: their events are no work after the answers have come either."""
    async with red_cluster(tmp_path) as red, red.green_reachable(), asyncio.TaskGroup() as tasks:
        plane = ControlPlane(_LateEvents(red.client), red.authority, settings(), Levels())
        running = tasks.create_task(plane.run())
        await until(lambda: is_ready(POD_IP))
        await federate(red)
        await wait_slices(red, 1)
        red.feed.put(msgspec.structs.replace(RATINGS, health=Health(0, 1)))
        await until(lambda: _is_unready(red))
        red.feed.put(service("details"))
        cluster = plane._cluster
        heard = (cluster.services, cluster.slices)
        await until(lambda: [sum(bool(import_names(each)) for each in store.values()) for store in heard] == [2, 2])
        assert await value("work_queue_attempts_total", queue="imports") == 3
        running.cancel()


async def _is_unready(red: Red) -> bool:
    endpoints = [each for found in await red.slices() for each in found.endpoints or ()]
    return [each.conditions is not None and each.conditions.ready for each in endpoints] == [False]


async def wait_slices(red: Red, count: int, namespace: str = NAMESPACE) -> None:
    """Wait until so many imports lead somewhere."""

    async def are_there() -> bool:
        return len(await red.slices(namespace)) == count

    await until(are_there)


async def test_an_import_survives_a_restart_without_its_peer(tmp_path: Path) -> None:
    """A control plane that starts while the peer is away leaves objects and gateway ports exactly as they are."""
    async with red_cluster(tmp_path) as red:
        async with red.green_reachable(), red.control_plane():
            await federate(red)
            await red.wait_services(1)
            red.feed.put(service("details"))
            await red.wait_services(2)
            red.feed.remove(RATINGS.hostname)
            (before,) = await red.wait_services(1)
            slice_before = await red.import_slice()
        assert ports_of(before) == [("http", 9080, 16001)]
        async with red.control_plane():
            await red.move_egress(EGRESS_IP, "127.79.0.21")

            async def follows() -> bool:
                return addresses_of(await red.import_slice()) == [EGRESS_IP, "127.79.0.21"]

            await until(follows)
            (after,) = await red.services()
            assert without_server_fields(after) == without_server_fields(before)
            assert (await red.import_slice()).ports == slice_before.ports
            assert (await red.status())["discoveryStatus"]["active"] == []


async def test_an_import_leads_on_to_a_gateway_that_starts_again(tmp_path: Path) -> None:
    """A gateway that is alone and not ready for a while costs no write; one that is on its way out is left."""
    async with red_cluster(tmp_path) as red, red.green_reachable(), red.control_plane():
        await federate(red)
        before = await red.import_slice()
        await red.move_egress(EGRESS_IP, ready=False)
        red.feed.put(service("details"))
        await red.wait_services(2)

        async def leads_there() -> bool:
            return [addresses_of(each) for each in await red.slices()] == [[EGRESS_IP]] * 2

        await until(leads_there)
        assert before in await red.slices()
        await red.move_egress(EGRESS_IP, ready=False, terminating=True)

        async def leads_nowhere() -> bool:
            return [addresses_of(each) for each in await red.slices()] == [[], []]

        await until(leads_nowhere)


async def test_an_import_stays_while_its_peer_is_silent(tmp_path: Path) -> None:
    """A peer that goes away takes nothing with it; what changed meanwhile is caught up with when it is back."""
    async with red_cluster(tmp_path) as red, red.control_plane():
        async with red.green_reachable():
            await federate(red)
            await red.wait_services(1)

        async def is_inactive() -> bool:
            inactive = (await red.status())["discoveryStatus"]["inactive"]
            return [bool(each["watch"].get("lastDisconnectStatus")) for each in inactive] == [True]

        await until(is_inactive)
        assert len(await red.services()) == 1
        red.feed.replace([service("details")])
        async with red.green_reachable():

            async def is_another() -> bool:
                names = [(metadata_of(each).annotations or {})["isthmus.io/hostname"] for each in await red.services()]
                return names == ["details.bookinfo.svc.green-mesh-imports.local"]

            await until(is_another)


async def test_deleting_the_peer_deletes_what_it_caused(tmp_path: Path) -> None:
    """With the ServiceMeshPeer its imports go, and its name; created again, it is imported from again."""
    async with red_cluster(tmp_path) as red, red.green_reachable(), red.control_plane():
        await federate(red)
        for _ in range(2):
            await red.wait_services(1)
            await red.kubectl("delete", "servicemeshpeer", "green-mesh")
            await red.wait_services(0)
            await wait_slices(red, 0)
            await red.apply(peer())
        (made,) = await red.wait_services(1)
        assert ports_of(made) == [("http", 9080, 16000)], "the gateway port was given back each time"


async def test_a_peer_that_was_deleted_meanwhile_is_cleared_up_after(tmp_path: Path) -> None:
    """A control plane that starts after the peer was deleted removes what the former one had made for it."""
    async with red_cluster(tmp_path) as red:
        async with red.green_reachable(), red.control_plane():
            await federate(red)
            await red.wait_services(1)
        await red.kubectl("delete", "servicemeshpeer", "green-mesh")
        async with red.control_plane():
            await red.wait_services(0)
            await wait_slices(red, 0)


async def test_what_someone_deletes_or_edits_is_made_again(tmp_path: Path) -> None:
    """Service and slice of an import are as they should be, whoever touches them."""
    async with red_cluster(tmp_path) as red, red.green_reachable(), red.control_plane():
        await federate(red)
        (made,) = await red.wait_services(1)
        await red.import_slice()
        name = metadata_of(made).name or ""
        await red.kubectl("delete", "service", name)
        (again,) = await red.wait_services(1)
        assert ports_of(again) == ports_of(made)
        await red.kubectl("delete", "endpointslices", "-l", "endpointslice.kubernetes.io/managed-by=isthmus")
        await red.import_slice()
        await red.kubectl("annotate", "service", name, "isthmus.io/exported-name-", "isthmus.io/hostname-")

        async def is_repaired() -> bool:
            (found,) = await red.services()
            return (metadata_of(found).annotations or {}).get("isthmus.io/exported-name") == RATINGS.hostname

        await until(is_repaired)


async def test_what_the_administrator_withdraws_goes_at_once(tmp_path: Path) -> None:
    """An import that no rule wants any more is removed also while the peer is away and has not been heard of."""
    async with red_cluster(tmp_path) as red:
        async with red.green_reachable(), red.control_plane():
            await federate(red)
            await red.wait_services(1)
        async with red.control_plane():
            await red.kubectl("delete", "importedserviceset", "green-mesh")
            await red.wait_services(0)


async def test_a_changed_service_keeps_its_gateway_ports(tmp_path: Path) -> None:
    """Of a service that gets or loses ports, those that stay keep their gateway port; those that go give it back."""
    async with red_cluster(tmp_path) as red, red.green_reachable(), red.control_plane():
        await federate(red)
        await red.wait_services(1)

        async def become(*ports: ServicePort, expected: list[tuple[str, int, int]]) -> None:
            async def is_so() -> bool:
                return [sorted(map(str, ports_of(each))) for each in await red.services()] == [list(map(str, expected))]

            red.feed.put(service("ratings", *ports))
            await until(is_so)

        web, admin = ServicePort("http", 9080, "HTTP"), ServicePort("admin", 9000, "HTTP")
        await become(admin, web, expected=[("admin", 9000, 16001), ("http", 9080, 16000)])
        await become(admin, expected=[("admin", 9000, 16001)])
        numbers = itertools.count()

        async def is_given_to_another() -> bool:
            # A port is given back a moment after the last object that leads there is seen to be another.
            number = next(numbers)
            red.feed.put(service(f"details-{number}"))
            return ("http", 9080, 16000) in [ports_of(each)[0] for each in await red.wait_services(2 + number)]

        await until(is_given_to_another)


async def test_what_kubernetes_cannot_hold_does_not_disturb_the_rest(tmp_path: Path) -> None:
    """Services without ports, with impossible names, or with names of ports that repeat, are the peer's problem.

    The administrator is told of those that are left out.
    """
    async with red_cluster(tmp_path) as red, red.green_reachable(), red.control_plane():
        red.feed.replace(
            [
                service("portless", ServicePort("http", 0, "HTTP")),
                service("a..b"),
                service("x" * 64),
                service("Ratings/../../secrets"),
                service("twice", ServicePort("http", 80, "HTTP"), ServicePort("http", 81, "HTTP")),
                service("shouted", ServicePort("HTTP_1", 80, "HTTP"), ServicePort("again", 80, "HTTP")),
                RATINGS,
            ]
        )
        await federate(red)
        made = await red.wait_services(3)
        names = sorted((metadata_of(each).annotations or {})["isthmus.io/hostname"].partition(".")[0] for each in made)
        assert names == ["ratings", "shouted", "twice"]

        async def are_listed() -> bool:
            return len((await red.status("importedserviceset")).get("importedServices", ())) == 7

        await until(are_listed)
        told = (await red.status("importedserviceset"))["conditions"][0]
        assert (told["type"], told["status"], told["reason"]) == ("Accepted", "False", "InvalidServiceName")
        assert told["message"].count("importRules[0] imports") == 4
        assert "'portless.bookinfo.svc.red-mesh-exports.local', which gets no Service: it has no TCP" in told["message"]


async def test_a_local_import_joins_the_service_that_is_there(tmp_path: Path) -> None:
    """An import as local is one more slice of the users' Service, which stays as it is, with its names of ports."""
    async with red_cluster(tmp_path) as red:
        users = """
            apiVersion: v1
            kind: Service
            metadata: {name: ratings, namespace: bookinfo, labels: {app: ratings}}
            spec: {selector: {app: ratings}, ports: [{name: web, port: 9080, targetPort: 8080}]}
        """
        async with red.green_reachable(), red.control_plane():
            await red.apply(users)
            await federate(red, IMPORT_AS_LOCAL)
            behind = await red.import_slice("bookinfo")
            assert (metadata_of(behind).labels or {})["kubernetes.io/service-name"] == "ratings"
            assert [(each.name, each.port) for each in behind.ports or ()] == [("web", 16000)]
            assert await red.services("bookinfo") == []
        async with red.control_plane():
            assert (await red.import_slice("bookinfo")).ports == behind.ports
            await red.lab.kubectl("-n", "bookinfo", "delete", "service", "ratings")
            (ours,) = await red.wait_services(1, "bookinfo")
            assert ports_of(ours) == [("http", 9080, 16000)]
            await red.kubectl("delete", "servicemeshpeer", "green-mesh")
            await red.wait_services(0, "bookinfo")
            await wait_slices(red, 0, "bookinfo")


async def test_a_local_service_that_differs_is_told_until_it_does_not(tmp_path: Path) -> None:
    """An import that joins a Service without any of its ports says so, as soon as that is so and as long as it is."""
    users = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "ratings", "namespace": "bookinfo"},
        "spec": {"ports": [{"port": 80}]},
    }
    async with red_cluster(tmp_path) as red, red.green_reachable(), red.control_plane():
        await red.apply(json.dumps(users))
        await federate(red, IMPORT_AS_LOCAL)
        told = await wait_reason(red, "importedserviceset", "LocalServiceDiffers")
        assert "into Service bookinfo/ratings, which has ports 80: nothing of it can be called" in told["message"]
        await red.lab.kubectl("replace", "-f", "-", stdin=json.dumps({**users, "spec": {"ports": [{"port": 9080}]}}))
        await wait_reason(red, "importedserviceset", "Accepted")
        await red.lab.kubectl("replace", "-f", "-", stdin=json.dumps({**users, "spec": {"ports": [{"port": 81}]}}))
        await wait_reason(red, "importedserviceset", "LocalServiceDiffers")
        await red.lab.kubectl("-n", "bookinfo", "delete", "service", "ratings")
        await wait_reason(red, "importedserviceset", "Accepted")


async def test_a_local_import_does_not_take_a_service_over(tmp_path: Path) -> None:
    """A Service of the same name that users create before the peer exports is still theirs afterwards."""
    async with red_cluster(tmp_path) as red, red.green_reachable(), red.control_plane():
        red.feed.replace([])
        await federate(red, IMPORT_AS_LOCAL)

        async def is_synced() -> bool:
            active = (await red.status())["discoveryStatus"]["active"]
            return [bool(each["watch"].get("lastFullSync")) for each in active] == [True]

        await until(is_synced)
        users = """
            apiVersion: v1
            kind: Service
            metadata: {name: ratings, namespace: bookinfo}
            spec: {ports: [{name: web, port: 9080}]}
        """
        await red.apply(users)
        red.feed.put(RATINGS)
        await red.import_slice("bookinfo")
        assert await red.services("bookinfo") == []
        red.feed.remove(RATINGS.hostname)

        async def is_gone() -> bool:
            return await red.slices("bookinfo") == []

        await until(is_gone)
        assert (await red.client.api.get(Service, "ratings", namespace="bookinfo")).metadata is not None


async def test_an_import_into_a_namespace_that_is_not_there_is_told(tmp_path: Path) -> None:
    """What the API server refuses is told with its words, for that import only, until it is written."""
    async with red_cluster(tmp_path) as red, red.green_reachable(), red.control_plane():
        rules = [
            {
                "type": "NameSelector",
                "importAsLocal": True,
                "nameSelector": {"name": "ratings", "alias": {"namespace": "shop"}},
            },
            {"type": "NameSelector", "nameSelector": {}},
        ]
        red.feed.put(service("details"))
        await federate(red, json.dumps({**IMPORTS, "spec": {"importRules": rules}}))
        told = await wait_reason(red, "importedserviceset", "NotWritten")
        assert told["message"].count("importRules[") == 1
        assert f"importRules[0] imports '{RATINGS.hostname}', which is not in the cluster" in told["message"]
        assert "cannot apply Service shop/ratings: " in told["message"]
        await red.wait_services(1)
        await red.kubectl("create", "namespace", "shop")
        await red.wait_services(1, "shop")
        await wait_reason(red, "importedserviceset", "Accepted")


async def test_two_services_may_be_imported_under_one_local_name(tmp_path: Path) -> None:
    """The Service is made for one of them and both lead there; when that one goes, the other one has a Service."""
    rules = IMPORT_AS_LOCAL.replace("namespace: bookinfo}", "namespace: bookinfo, name: all}")
    async with red_cluster(tmp_path) as red, red.green_reachable(), red.control_plane():
        red.feed.put(service("details"))
        await federate(red, rules)
        (made,) = await red.wait_services(1, "bookinfo")

        async def both_lead_there() -> bool:
            ports = [port.port for each in await red.slices("bookinfo") for port in each.ports or ()]
            return sorted(port or 0 for port in ports) == [16000, 16001]

        await until(both_lead_there)
        (made,) = await red.services("bookinfo")
        owner = (metadata_of(made).annotations or {})["isthmus.io/exported-name"]
        red.feed.remove(owner)

        async def belongs_to_the_other() -> bool:
            found = await red.services("bookinfo")
            owners = [(metadata_of(each).annotations or {})["isthmus.io/exported-name"] for each in found]
            return len(owners) == 1 and owners != [owner]

        await until(belongs_to_the_other)


async def test_a_peer_cannot_be_used_for_a_while(tmp_path: Path) -> None:
    """A resource that makes no sense stops the exchange and says why; imports stay, and corrected it goes on."""
    async with red_cluster(tmp_path) as red, red.green_reachable(), red.control_plane():
        await federate(red)
        await red.wait_services(1)
        await red.apply(peer(trustDomain="blue-mesh.local"))

        async def is_explained() -> bool:
            status = (await red.status())["discoveryStatus"]
            return [
                "is not of trust domain blue-mesh.local" in each["watch"].get("lastDisconnectStatus", "")
                for each in status["inactive"]
            ] == [True]

        await until(is_explained)
        assert len(await red.services()) == 1
        await red.apply(peer())

        async def is_active() -> bool:
            return len((await red.status())["discoveryStatus"]["active"]) == 1

        await until(is_active)
        assert len(await red.services()) == 1


async def test_a_peers_root_is_awaited(tmp_path: Path) -> None:
    """A peer whose ConfigMap is missing is inactive, with the reason, and active once the ConfigMap is there."""
    async with red_cluster(tmp_path) as red, red.green_reachable(), red.control_plane():
        await red.apply(peer(), IMPORT_ALL)

        async def is_explained() -> bool:
            inactive = (await red.status()).get("discoveryStatus", {}).get("inactive", [])
            return [
                "ca-root-cert does not exist" in each["watch"].get("lastDisconnectStatus", "") for each in inactive
            ] == [True]

        await until(is_explained)
        assert await red.services(NAMESPACE) == []
        await red.apply(red.green_root)
        await red.wait_services(1)


async def test_an_import_waits_for_gateway_ports(tmp_path: Path) -> None:
    """When the gateway's ports are used up an import is left out whole, and made once another gives back its own."""
    async with red_cluster(tmp_path) as red, red.green_reachable(), red.control_plane():
        many = [ServicePort(f"p{port}", port, "TCP") for port in range(1, MAX_PORTS + 1)]
        fitting = (LAST_PORT - FIRST_PORT + 1) // MAX_PORTS
        red.feed.replace([service(f"wide-{number:02}", *many) for number in range(fitting + 1)])
        await federate(red)
        made = await red.wait_services(fitting)
        names = sorted((metadata_of(each).annotations or {})["isthmus.io/exported-name"] for each in made)
        assert names[-1] == f"wide-{fitting - 1:02}.bookinfo.svc.red-mesh-exports.local"
        red.feed.put(RATINGS)
        await red.wait_services(fitting + 1)
        told = await wait_reason(red, "importedserviceset", "NoGatewayPort")
        assert told["message"].startswith(f"importRules[0] imports 'wide-{fitting:02}.bookinfo.svc.red-mesh-exports")
        assert told["message"].count("importRules[0]") == 1
        assert f"too few of the {LAST_PORT - FIRST_PORT + 1} gateway ports" in told["message"]
        red.feed.remove(names[0])

        async def is_made() -> bool:
            found = [(metadata_of(each).annotations or {})["isthmus.io/exported-name"] for each in await red.services()]
            return names[0] not in found and f"wide-{fitting:02}.bookinfo.svc.red-mesh-exports.local" in found

        await until(is_made)
        await wait_reason(red, "importedserviceset", "Accepted")


async def test_any_churn_ends_as_the_peer_says(tmp_path: Path) -> None:
    """However fast services come and go while someone deletes their objects, the end is right and no port is lost."""
    chance = random.Random(7)  # noqa: S311  (a test's choices, the same in each run)
    async with red_cluster(tmp_path) as red, red.green_reachable(), red.control_plane():
        await federate(red)
        await red.wait_services(1)
        for _ in range(120):
            name = f"s{chance.randrange(12)}"
            match chance.randrange(4):
                case 0:
                    red.feed.remove(service(name).hostname)
                case 1:
                    found = await red.services()
                    await carry_out(red.client, [Delete(each) for each in chance.sample(found, min(1, len(found)))])
                case _:
                    ports = [ServicePort(f"p{port}", port, "TCP") for port in chance.sample(range(1, 5), 2)]
                    red.feed.put(service(name, *ports))
            await asyncio.sleep(0)
        exported = parse_service_list(red.feed.snapshot()).services
        expected = {each.hostname: sorted(port.port for port in each.service_ports) for each in exported}

        async def is_so() -> bool:
            return {
                (metadata_of(each).annotations or {})["isthmus.io/exported-name"]: sorted(
                    p for _, p, _ in ports_of(each)
                )
                for each in await red.services()
            } == expected

        await until(is_so)
        red.feed.replace([])
        await red.wait_services(0)
        numbers = itertools.count()

        async def all_ports_are_back() -> bool:
            red.feed.replace([service(f"t{next(numbers)}")])
            return ports_of((await red.wait_services(1))[0]) == [("http", 9080, FIRST_PORT)]

        await until(all_ports_are_back)
