"""Checks as the real control plane answers them on a lab's API server; its gateways' agents are not there."""

from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs
from tests.pilot.red import EGRESS_IP, IMPORT_ALL, Red, peer, red_cluster, service
from tests.waiting import until

from isthmus.federation.import_table import Import
from isthmus.federation.imports import ImportedName
from isthmus.federation.messages import ServicePort
from isthmus.federation.ports import PortBook
from isthmus.federation.selection import QualifiedName
from isthmus.federation.workload import Workload, workload
from isthmus.pilot.checks import chosen_target

pytestmark = pytest.mark.slow


async def ask(red: Red, value: str) -> None:
    """Ask for a check as anybody may who can patch the resource."""
    await red.kubectl("annotate", "smp", "green-mesh", "--overwrite", f"isthmus.io/check={value}")


async def answer(red: Red, value: str) -> dict[str, Any]:
    """The check with that value, as soon as it is there."""

    async def is_there() -> bool:
        return bool((await red.status()).get("check", {}).get("nonce") == value)

    await until(is_there)
    check: dict[str, Any] = (await red.status())["check"]
    return check


def steps(check: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {step["name"]: step for step in check["steps"]}


async def test_a_question_gets_its_answer(tmp_path: Path) -> None:
    """Each value is answered, with what the peer tells, and what could not be tried says why; the rest stays."""
    async with red_cluster(tmp_path) as red, red.control_plane(), red.green_reachable():
        await red.apply(red.green_root, peer(), IMPORT_ALL)
        await red.wait_services(1)
        await ask(red, "first")
        check = await answer(red, "first")
        found = steps(check)
        assert check["pod"] == "istiod-red-mesh-0"
        assert found["trust"]["result"] == "passed"
        assert f"could be asked: {EGRESS_IP}: connection refused" in found["tcp"]["message"]
        assert "connection refused" in found["data-path"]["message"]
        assert (check["peerView"]["peer"], check["peerView"]["exports"]) == ("green-mesh", 1)
        assert "we know 1 of theirs and import 1" in found["exports"]["figure"]
        await ask(red, "second")
        assert (await answer(red, "second"))["time"] >= check["time"]
        assert (await red.status())["discoveryStatus"]["active"]


async def test_lines_of_the_log_name_the_peer(tmp_path: Path) -> None:
    """What a check and an inquiry log is about a peer, as everything that is."""
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        async with red_cluster(tmp_path) as red, red.control_plane(), red.green_reachable():
            await red.apply(red.green_root, peer())
            await ask(red, "first")
            await answer(red, "first")
            await until(lambda: {"checks", "inquiry"} <= {line.get("queue") for line in lines})
    of_peers = [line for line in lines if line.get("queue") in {"checks", "inquiry"}]
    assert [(line.get("peer"), line.get("key")) for line in of_peers] == [("green-mesh", None)] * len(of_peers)


async def test_a_resource_that_cannot_be_used_is_checked_too(tmp_path: Path) -> None:
    """The step that fails is the one that the condition tells of; a question that is none gets no answer."""
    async with red_cluster(tmp_path) as red, red.control_plane():
        await red.apply(peer())
        await ask(red, "no/nonce")
        await ask(red, "third")
        found = steps(await answer(red, "third"))
        assert found["trust"]["cause"] == "RootNotFound"
        assert found["tcp"]["message"] == "the resource cannot be used"


async def test_what_was_asked_while_nobody_was_there(tmp_path: Path) -> None:
    """A control plane that starts answers the question that waits."""
    async with red_cluster(tmp_path) as red:
        await red.apply(red.green_root, peer())
        await ask(red, "early")
        async with red.control_plane():
            assert steps(await answer(red, "early"))["trust"]["result"] == "passed"


def imported(name: str, *ports: ServicePort, book: PortBook) -> Workload:
    """An import with these ports."""
    called = ImportedName(QualifiedName("bookinfo", name), f"{name}.bookinfo.svc.green-mesh-imports.local")
    return workload(Import("green-mesh", service(name, *ports), called), namespace="red-mesh-system", book=book)


def test_the_import_that_is_tried() -> None:
    """One that answers at once, by name; others only if there is none; the same whatever the order."""
    book = PortBook()
    tcp = imported("a", ServicePort("db", 5432, "TCP"), ServicePort("tls", 443, "TLS"), book=book)
    grpc = imported("b", ServicePort("grpc", 90, "GRPC"), book=book)
    web = imported("z", ServicePort("db", 1, "TCP"), ServicePort("http", 80, "HTTP"), book=book)
    for every in ([tcp, grpc, web], [web, tcp, grpc]):
        chosen = chosen_target(every)
        assert chosen is not None
        assert (chosen[0], chosen[1].port) == (web, 80)
    chosen = chosen_target([tcp])
    assert chosen is not None
    assert chosen[1].port == 443
    assert chosen_target([]) is None
