"""Log levels of a gateway change while it runs: the agent's and Envoy's, by the file that the mesh keeps."""

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.ca.serving import Mesh
from tests.gateway.pod import Pilot, Pod, hello, running_pod, short_folder, until

from isthmus.envoy import message

pytestmark = [pytest.mark.envoy, pytest.mark.slow]
NETWORK = f"127.67.{os.getpid() % 250 + 1}"
PILOT, POD = f"{NETWORK}.1", f"{NETWORK}.2"


def write(path: Path, **settings: Any) -> None:
    """Replace the file in place, as the kubelet does."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps(settings))
    new.rename(path)


def of_envoy(pod: Pod, level: str) -> list[dict[str, Any]]:
    """Lines of Envoy's own log at a level."""
    return [line for line in pod.output() if line.get("logger", "").startswith("envoy.") and line["level"] == level]


async def test_levels_follow_the_file() -> None:
    """Envoy's components, the agent's components, an Envoy that starts anew; what is wrong is one line."""
    pilot = Pilot(Mesh(), PILOT)
    pilot.table.put(message.LISTENER, hello(POD))
    with short_folder() as folder:
        path = folder / "logs.json"
        async with pilot.serve(), running_pod(pilot, POD, folder, settings_path=str(path)) as pod:
            await pod.wait_ready()
            assert not of_envoy(pod, "debug")
            write(path, proxy={"logging": {"componentLevels": {"http": "debug"}}})
            await until(lambda: {"envoy.http"} <= _loggers(of_envoy(pod, "debug")), pod.output)
            assert _loggers(of_envoy(pod, "debug")) == {"envoy.http"}
            os.kill(pod.envoy_pid(), signal.SIGKILL)
            before = len(of_envoy(pod, "debug"))
            await pod.wait_event("envoy started", times=2)
            await until(lambda: len(of_envoy(pod, "debug")) > before, pod.output)
            write(path, proxy={"logging": {"componentLevels": {"nothing": "debug"}}})
            reason = (await pod.wait_event("log levels stay as they are"))["reason"]
            assert "level debug of nothing" in reason
            write(path, general={"logging": {"componentLevels": {"gateway": "off", "misc": "info"}}})
            await pod.wait_event("log levels set", times=3)
            started = len(pod.events("envoy started"))
            os.kill(pod.envoy_pid(), signal.SIGKILL)
            await _wait_ready_again(pod)
            assert len(pod.events("envoy started")) == started
            assert len(pod.events("log levels stay as they are")) == 1


def _loggers(lines: list[dict[str, Any]]) -> set[str]:
    return {line["logger"] for line in lines}


async def _wait_ready_again(pod: Pod) -> None:
    async with asyncio.timeout(20):
        while (await pod.readiness())[0] == 200:
            await asyncio.sleep(0.02)
    await pod.wait_ready()
