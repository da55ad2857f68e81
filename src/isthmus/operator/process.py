"""The operator as a process: the connection, the controller, and the answer to "are you ready?"."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from isthmus.kube import connect
from isthmus.operator.controller import Operator
from isthmus.operator.mesh import OPERATOR

_LONGEST_REQUEST = 8192
_PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the operator is run.

    image: what the processes of meshes run from. identity: of this replica, which no other has.
    address, port: where ``GET /ready`` is answered.
    kubeconfig: None for that of $KUBECONFIG, of the pod, or of ~/.kube/config.
    """

    image: str
    identity: str
    address: str
    port: int
    kubeconfig: Path | None = None


async def run(settings: Settings) -> NoReturn:
    """Run the operator until cancelled. Raises OSError if the port is taken, ConfigError without a configuration."""
    started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    async with (
        connect(field_manager=OPERATOR, kubeconfig=settings.kubeconfig) as client,
        await _serve_readiness(settings, started),
    ):
        await Operator(client, image=settings.image, identity=settings.identity).run(started)


async def _serve_readiness(settings: Settings, started: asyncio.Future[None]) -> asyncio.Server:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                request = await reader.readuntil(b"\r\n\r\n")
                writer.write(response(request, ready=started.done()))
                await writer.drain()
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            pass  # who asks so gets no answer
        finally:
            writer.close()

    return await asyncio.start_server(answer, settings.address, settings.port, limit=_LONGEST_REQUEST)


def response(request: bytes, *, ready: bool) -> bytes:
    """Return the HTTP response to a probe: 200 once ready, 503 before, 404 for anything but /ready."""
    line = request.split(b"\r\n", 1)[0]
    if not line.startswith(b"GET /ready "):
        status = b"404 Not Found"
    else:
        status = b"200 OK" if ready else b"503 Service Unavailable"
    return b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
