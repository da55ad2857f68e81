"""A link between two meshes that swallows everything, noticed by the real heartbeat through four real Envoys."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from tests.e2e.conftest import Federation, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(180)]
ADDRESS = "127.99.0.7"
PORTS = (8188, 15443)


class Wire:
    """Forwards both ports of a gateway in a thread of its own; while it is cut nothing arrives, and nobody is told."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._whole = asyncio.Event()
        self._end = asyncio.Event()
        self.listens = threading.Event()
        self.connections = 0

    def run(self) -> None:
        """Forward until the end."""
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    def cut(self) -> None:
        """Let nothing through."""
        self._loop.call_soon_threadsafe(self._whole.clear)

    def heal(self) -> None:
        """Let everything through again, what waits included."""
        self._loop.call_soon_threadsafe(self._whole.set)

    def end(self) -> None:
        """Close everything."""
        self._loop.call_soon_threadsafe(self._end.set)

    async def _serve(self) -> None:
        self._whole.set()
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(self._forward_port(port)) for port in PORTS]
            self.listens.set()
            await self._end.wait()
            for task in running:
                task.cancel()

    async def _forward_port(self, port: int) -> None:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections += 1
            try:
                there_reader, there_writer = await asyncio.open_connection(self._target, port)
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._pump(reader, there_writer))
                    tasks.create_task(self._pump(there_reader, writer))
            finally:
                writer.transport.abort()

        server = await asyncio.start_server(connected, ADDRESS, port)
        async with server:
            await self._end.wait()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError):
                while some := await reader.read(65536):
                    await self._whole.wait()
                    writer.write(some)
                    await writer.drain()
        finally:
            writer.transport.abort()


@contextmanager
def wire_to(target: str) -> Iterator[Wire]:
    """A wire that can be cut."""
    wire = Wire(target)
    thread = threading.Thread(target=wire.run)
    thread.start()
    assert wire.listens.wait(5)
    try:
        yield wire
    finally:
        wire.heal()
        wire.end()
        thread.join(10)


def test_a_black_hole_is_noticed_within_45_s_and_heals_within_5(federation: Federation) -> None:
    """Red notices that nothing comes from green any more, says so, and is up to date soon after the link is."""
    red, green = federation.sites
    (ingress,) = green.get("service", "ingress-red-mesh")["status"]["loadBalancer"]["ingress"]
    try:
        with wire_to(ingress["ip"]) as wire:
            red.patch_peer(remote={"addresses": [ADDRESS]})
            eventually(lambda: wire.connections > 0 and federation.is_whole(), what="active through the wire")
            wire.cut()
            name = {"exportRules": [{"type": "NameSelector", "nameSelector": {"namespace": "bookinfo"}}]}
            green.kubectl("patch", "exportedserviceset", green.peer, "--type=merge", "-p", json.dumps({"spec": name}))
            noticed_s = eventually(red.inactive_cause, within_s=60, what="red notices")
            assert noticed_s <= 47
            assert "no heartbeat" in red.inactive_cause()
            wire.heal()
            eventually(red.is_active, within_s=5, what="active again")
    finally:
        green.kubectl("apply", "-f", str(green.files / "exportedserviceset.yaml"))
