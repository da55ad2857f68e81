"""Probes: thresholds and pace as tables, questions to real servers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from lightkube.models.core_v1 import (
    Container,
    ContainerPort,
    ExecAction,
    HTTPGetAction,
    HTTPHeader,
    Probe,
    TCPSocketAction,
)

from isthmus.lab.node.probes import ProbeState, Target, ask, pause_s, port_number, request

HOST = "127.0.0.1"


@pytest.mark.parametrize(
    ("outcomes", "verdicts"),
    [
        ("+", [True]),
        ("-", [None]),
        ("---", [None, None, False]),
        ("+--+---", [True, True, True, True, True, True, False]),
        ("---+", [None, None, False, True]),
    ],
)
def test_thresholds(outcomes: str, verdicts: list[bool | None]) -> None:
    """Three failures in a row make a verdict, one success another."""
    state = ProbeState(Probe(failureThreshold=3, successThreshold=1))
    found = []
    for outcome in outcomes:
        state.observe(success=outcome == "+")
        found.append(state.verdict)
    assert found == verdicts


@pytest.mark.parametrize(
    ("kind", "verdict", "age_s", "expected"),
    [
        ("readiness", None, 1, 0.1),
        ("startup", None, 1, 0.1),
        ("readiness", None, 31, 10),
        ("readiness", True, 1, 10),
        ("readiness", False, 1, 10),
        ("liveness", None, 1, 10),
    ],
)
def test_pace(kind: str, verdict: bool | None, age_s: float, expected: float) -> None:
    """Until the first verdict a young container is asked often, then once a period."""
    assert pause_s(Probe(), verdict=verdict, age_s=age_s, kind=kind) == expected  # type: ignore[arg-type]  # a table's text


def test_several_successes_take_several_periods() -> None:
    """A probe that needs more than one success is never asked in haste."""
    assert pause_s(Probe(successThreshold=2, periodSeconds=3), verdict=None, age_s=1, kind="readiness") == 3


def test_ports_by_name() -> None:
    """A probe may name the container's port."""
    container = Container(name="c", ports=[ContainerPort(name="http", containerPort=8080)])
    assert (port_number("http", container), port_number(1, container), port_number("2", container)) == (8080, 1, 2)
    with pytest.raises(LookupError, match="port 'none': container 'c' has no port of that name"):
        port_number("none", container)


def test_request_is_one_request() -> None:
    """A header with a line break is refused, so that a pod can't make the node say what it likes."""
    with pytest.raises(ValueError, match="line break"):
        request(HTTPGetAction(port=1, httpHeaders=[HTTPHeader(name="X", value="a\r\nY: b")]), host="h")


@asynccontextmanager
async def serving(status: str) -> AsyncIterator[int]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
        writer.close()

    server = await asyncio.start_server(answer, HOST, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def target(execute: Callable[[list[str]], tuple[int, str]] = lambda _argv: (0, "")) -> Target:
    async def run(argv: list[str], timeout_s: float) -> tuple[int, str]:
        del timeout_s
        return execute(argv)

    return Target(address=HOST, container=Container(name="c"), execute=run)


@pytest.mark.parametrize(("status", "expected"), [("200 OK", True), ("302 Found", True), ("503 Busy", False)])
async def test_http(status: str, *, expected: bool) -> None:
    """200 to 399 is success."""
    async with serving(status) as port:
        outcome = await ask(Probe(httpGet=HTTPGetAction(port=port, path="/ready")), target())
    assert outcome.success is expected


async def test_tcp() -> None:
    """An open port is success, a closed one is not."""
    async with serving("200 OK") as port:
        assert (await ask(Probe(tcpSocket=TCPSocketAction(port=port)), target())).success
    assert not (await ask(Probe(tcpSocket=TCPSocketAction(port=port)), target())).success


async def test_exec() -> None:
    """Exit code 0 is success; the output of a failure is in the message."""
    probe = Probe(exec=ExecAction(command=["check"]))
    assert (await ask(probe, target())).success
    failed = await ask(probe, target(lambda argv: (2, f"{argv} is ill")))
    assert (failed.success, failed.message) == (False, "exit code 2: ['check'] is ill")


async def test_silence() -> None:
    """A server that does not answer in time has failed."""

    async def listen_only(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            await reader.read()
        writer.close()
        gone.set()

    gone = asyncio.Event()
    server = await asyncio.start_server(listen_only, HOST, 0)
    async with server:
        probe = Probe(httpGet=HTTPGetAction(port=server.sockets[0].getsockname()[1]), timeoutSeconds=1)
        outcome = await ask(probe, target())
        await gone.wait()
    assert (outcome.success, outcome.message) == (False, "no answer within 1 s")
