"""Probes: how a container is asked whether it has started, lives and is ready (core/v1 Probe).

One difference from kubelet, for the sake of a quick start on one machine: a readiness or startup probe that one success
satisfies is repeated every 100 ms (an ``exec`` one every 500 ms), once its initial delay is over, until it succeeds or
30 s have gone. Failures count against ``failureThreshold``, and are told, once in ``periodSeconds`` only, as they would
be without the haste.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from lightkube.models.core_v1 import Container, GRPCAction, HTTPGetAction, Probe

EAGER_S, EAGER_EXEC_S, EAGER_FOR_S = 0.1, 0.5, 30.0
ANSWER_BYTES = 4096

Kind = Literal["startup", "liveness", "readiness"]
Execute = Callable[[list[str], float], Awaitable[tuple[int, str]]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a probe found; the message says why it failed."""

    success: bool
    message: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """Who is probed: the pod's address, the container (for its port names), and how to execute in it."""

    address: str
    container: Container
    execute: Execute


class Report(Protocol):
    """Who hears what a probe finds."""

    def __call__(self, outcome: Outcome, verdict: bool | None) -> None:
        """An outcome that counts, and the verdict if it changed it."""


class ProbeState:
    """Thresholds: from single outcomes to a verdict. Pure; ``verdict`` is None until there is one."""

    def __init__(self, probe: Probe) -> None:
        self._needed = {True: probe.successThreshold or 1, False: probe.failureThreshold or 3}
        self._row = 0
        self._last: bool | None = None
        self.verdict: bool | None = None

    def observe(self, *, success: bool) -> bool:
        """Take in an outcome; True if the verdict changed."""
        self._row = self._row + 1 if success == self._last else 1
        self._last = success
        if self._row < self._needed[success] or self.verdict is success:
            return False
        self.verdict = success
        return True


def pause_s(probe: Probe, *, verdict: bool | None, age_s: float, kind: Kind) -> float:
    """How long until the probe is asked again."""
    period_s = float(probe.periodSeconds or 10)
    if kind == "liveness" or (probe.successThreshold or 1) > 1 or verdict is not None or age_s > EAGER_FOR_S:
        return period_s
    return min(period_s, EAGER_EXEC_S if probe.exec is not None else EAGER_S)


def port_number(port: int | str, container: Container) -> int:
    """A probe's port, by number or by the name that the container gives it. LookupError if it has no such name."""
    if isinstance(port, int):
        return port
    if port.isdecimal():
        return int(port)
    for candidate in container.ports or []:
        if candidate.name == port:
            return candidate.containerPort
    raise LookupError(f"Probing port {port!r}: container {container.name!r} has no port of that name")


async def ask(probe: Probe, target: Target) -> Outcome:
    """Ask once, within ``timeoutSeconds``."""
    timeout_s = float(probe.timeoutSeconds or 1)
    try:
        async with asyncio.timeout(timeout_s):
            return await _ask(probe, target, timeout_s)
    except TimeoutError:
        return Outcome(success=False, message=f"no answer within {timeout_s:g} s")
    except (OSError, LookupError, ValueError) as error:
        return Outcome(success=False, message=str(error))


async def _ask(probe: Probe, target: Target, timeout_s: float) -> Outcome:
    if probe.exec is not None:
        code, output = await target.execute(probe.exec.command or [], timeout_s)
        return Outcome(success=code == 0, message=f"exit code {code}: {output}" if code else "")
    if probe.httpGet is not None:
        return await _http(probe.httpGet, target)
    if probe.tcpSocket is not None:
        host = probe.tcpSocket.host or target.address
        _, writer = await asyncio.open_connection(host, port_number(probe.tcpSocket.port, target.container))
        writer.close()
        return Outcome(success=True)
    if probe.grpc is not None:
        return await _grpc(probe.grpc, target)
    raise LookupError("Probing: this node knows httpGet, tcpSocket, grpc and exec only")


async def _grpc(action: GRPCAction, target: Target) -> Outcome:
    from isthmus.lab.node.grpc_probe import check_health  # only where it is asked for: it costs a lab 10 MB

    message = await check_health(f"{target.address}:{action.port}", action.service or "")
    return Outcome(success=not message, message=message)


async def _http(action: HTTPGetAction, target: Target) -> Outcome:
    port = port_number(action.port, target.container)
    secure = _unverified() if action.scheme == "HTTPS" else None
    reader, writer = await asyncio.open_connection(action.host or target.address, port, ssl=secure)
    try:
        writer.write(request(action, host=f"{action.host or target.address}:{port}"))
        status = await reader.readline()
    finally:
        writer.transport.abort()
    code = int(status.split(b" ", 2)[1]) if status.startswith(b"HTTP/1.") else 0
    return Outcome(success=200 <= code < 400, message=f"HTTP probe failed with statuscode: {code}")


def request(action: HTTPGetAction, *, host: str) -> bytes:
    """The request of an httpGet probe. ValueError if a header or the path would break out of its line."""
    headers = {"Host": host, "User-Agent": "kube-probe/1.33", "Accept": "*/*", "Connection": "close"}
    headers |= {header.name: header.value for header in action.httpHeaders or []}
    path = action.path or "/"
    lines = [f"GET {path if path.startswith('/') else '/' + path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError(f"Probing {path!r}: a header or the path contains a line break")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _unverified() -> ssl.SSLContext:
    """The kubelet does not verify certificates of probes either (documentation of HTTP probes)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def watch(probe: Probe, target: Target, *, kind: Kind, report: Report) -> None:
    """Ask again and again until cancelled; ``report`` hears of what counts."""
    loop = asyncio.get_running_loop()
    period_s = float(probe.periodSeconds or 10)
    await asyncio.sleep(float(probe.initialDelaySeconds or 0))
    state, began = ProbeState(probe), loop.time()
    counted = began - period_s
    while True:
        outcome = await ask(probe, target)
        if outcome.success or loop.time() - counted >= period_s * 0.9:
            counted = loop.time()
            changed = state.observe(success=outcome.success)
            report(outcome, state.verdict if changed else None)
        await asyncio.sleep(pause_s(probe, verdict=state.verdict, age_s=loop.time() - began, kind=kind))
