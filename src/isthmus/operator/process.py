"""The operator as a process: the connection, the controller, and the answer to "are you ready?"."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from isthmus.kube import connect
from isthmus.operator.controller import Operator
from isthmus.operator.mesh import OPERATOR
from isthmus.readiness import serve_readiness


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

    async def problem() -> str | None:
        return None if started.done() else "the operator is starting"

    async with (
        connect(field_manager=OPERATOR, kubeconfig=settings.kubeconfig) as client,
        serve_readiness(settings.address, settings.port, problem),
    ):
        await Operator(client, image=settings.image, identity=settings.identity).run(started)
