"""A controller of kopf's, under churn: what it makes of a hundred changes is what it should be, whatever the order.

``make churn`` lets it run for a minute; CHURN_S says for how long.
"""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lightkube import ApiError, Client, KubeConfig
from lightkube.generic_resource import create_namespaced_resource
from lightkube.resources.core_v1 import ConfigMap
from lightkube.types import PatchType
from tests.lab.libraries.widgets import GROUP, KIND, PLURAL, VERSION, widget
from tests.lab.machine import eventually

CHURN_S = float(os.environ.get("CHURN_S", "4"))
pytestmark = [pytest.mark.slow, pytest.mark.timeout(60 + 2 * CHURN_S)]

CONTROLLER = Path(__file__).with_name("controller.py")
Widget: Any = create_namespaced_resource(GROUP, VERSION, KIND, PLURAL)


@pytest.fixture
def client(kubeconfig: Path, namespace: str) -> Iterator[Client]:
    """What makes the churn: another library than the controller's."""
    with Client(config=KubeConfig.from_file(kubeconfig), namespace=namespace, field_manager="churn") as made:
        yield made


@pytest.fixture
def controller(kubeconfig: Path, namespace: str, tmp_path: Path) -> Iterator[Path]:
    """The running controller; its log is the fixture's value."""
    log = tmp_path / "kopf.log"
    command = [sys.executable, "-m", "kopf", "run", "--namespace", namespace, "--standalone", str(CONTROLLER)]
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "PYTHONPATH": str(Path.cwd())}
    with log.open("wb") as out, subprocess.Popen(command, env=environment, stdout=out, stderr=out) as process:
        try:
            yield log
        finally:
            process.terminate()
            process.wait(10)


class Churn:
    """Widgets come, change and go at random; ``sizes`` is what should be there."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self._random = random.Random(7)  # noqa: S311  # the same churn each time
        self._made = 0
        self.sizes: dict[str, int] = {}
        self.gone: set[str] = set()

    def step(self) -> None:
        """One change."""
        chance = self._random.random()
        if len(self.sizes) < 5 or chance < 0.3:
            self._create()
        elif chance < 0.75:
            self._resize(self._random.choice(sorted(self.sizes)))
        else:
            self._delete(self._random.choice(sorted(self.sizes)))

    def _create(self) -> None:
        name = f"w{self._made}"
        self._made += 1
        self.sizes[name] = self._random.randint(1, 1000)
        self._client.create(Widget.from_dict(widget(name, namespace=self._namespace, size=self.sizes[name])))

    def _resize(self, name: str) -> None:
        self.sizes[name] = self._random.randint(1, 1000)
        change = {"spec": {"size": self.sizes[name]}}
        self._client.patch(Widget, name, change, patch_type=PatchType.MERGE)

    def _delete(self, name: str) -> None:
        self._client.delete(Widget, name)
        del self.sizes[name]
        self.gone.add(name)


def config_maps(client: Client) -> dict[str, str | None]:
    """What the controller made: names and sizes."""
    found = client.list(ConfigMap, labels={"by": "kopf"})
    return {str(one.metadata.name): (one.data or {}).get("size") for one in found if one.metadata}


def test_a_kopf_controller_under_churn(client: Client, namespace: str, controller: Path) -> None:
    """After the churn each Widget has a ConfigMap and a status of its size, and of the deleted ones nothing is left."""
    client.create(Widget.from_dict(widget("first", namespace=namespace, size=1)))
    eventually(lambda: config_maps(client) == {"first": "1"}, within_s=30)
    churn = Churn(client, namespace)
    churn.sizes["first"] = 1
    end = time.monotonic() + CHURN_S
    while time.monotonic() < end:
        churn.step()
        time.sleep(0.02)
    wanted = {name: str(size) for name, size in churn.sizes.items()}
    eventually(lambda: {one: size for one, size in config_maps(client).items() if size} == wanted, within_s=30)
    eventually(lambda: statuses(client) == churn.sizes, within_s=30)
    for name in churn.gone:
        with pytest.raises(ApiError):
            client.get(Widget, name)
    assert "Traceback" not in controller.read_text()


def statuses(client: Client) -> dict[str, int]:
    """What the Widgets themselves say."""
    return {one["metadata"]["name"]: one.get("status", {}).get("size") for one in client.list(Widget)}
