"""kr8s: objects by name, selectors, patches, waits, logs, watches."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import kr8s
import pytest
from kr8s.asyncio.objects import ConfigMap, Deployment, Pod, new_class
from tests.lab.libraries.widgets import API_VERSION, KIND, widget
from tests.lab.workloads import container

pytestmark = pytest.mark.slow

Widget: Any = new_class(kind=KIND, version=API_VERSION, namespaced=True, scalable=True, scalable_spec="size")


@pytest.fixture
async def api(kubeconfig: Path, namespace: str) -> AsyncIterator[Any]:
    """A client at home in the test's namespace."""
    made = await kr8s.asyncio.api(kubeconfig=str(kubeconfig), namespace=namespace)
    yield made
    assert made._session is not None
    await made._session.aclose()  # kr8s itself has no way to close


async def test_objects_come_change_and_go(api: Any, namespace: str) -> None:
    """create, refresh, patch, label, annotate, exists, get by selector, delete."""
    body = {"metadata": {"name": "a", "namespace": namespace}, "data": {"k": "v"}}
    made = await ConfigMap(body, api=api)
    await made.create()
    await made.patch({"data": {"x": "1"}})
    await made.patch([{"op": "remove", "path": "/data/k"}], type="json")
    await made.label(tier="front")
    await made.annotate(note="y")
    found = [one async for one in api.get("configmaps", namespace=namespace, label_selector={"tier": "front"})]
    assert [(one.name, dict(one.data)) for one in found] == [("a", {"x": "1"})]
    await made.delete()
    assert not await made.exists()
    with pytest.raises(kr8s.NotFoundError):
        await made.refresh()


async def test_a_custom_kind(api: Any, namespace: str) -> None:
    """kr8s finds the kind by discovery, scales it and waits for it."""
    made = await Widget(widget("w", namespace=namespace, size=1), api=api)
    await made.create()
    await made.patch({"status": {"size": 4}}, subresource="status")
    await made.scale(4)
    assert [one.spec.size async for one in api.get(f"widgets.{API_VERSION.split('/')[0]}")] == [4]
    await made.delete()
    await made.wait("delete", timeout=5)


async def test_a_watch(api: Any, namespace: str) -> None:
    """A watch tells of what happens while it is open."""
    seen: list[tuple[str, str]] = []

    async def follow() -> None:
        async for event, obj in api.watch("widgets", namespace=namespace):
            seen.append((event, obj.name))
            if event == "DELETED":
                return

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        made = await Widget(widget("w", namespace=namespace), api=api)
        await made.create()
        group.create_task(follow())
        while not seen:
            await asyncio.sleep(0.01)
        await made.delete()
    assert seen == [("ADDED", "w"), ("DELETED", "w")]


async def test_a_deployment(api: Any, namespace: str) -> None:
    """A Deployment becomes ready; its pods are found, their logs read, and it is scaled."""
    labels = {"app": "web"}
    command = container("sh", "-c", "echo hello; exec sleep 60")
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels},
            "spec": {"containers": [command], "terminationGracePeriodSeconds": 0},
        },
    }
    made = await Deployment({"metadata": {"name": "web", "namespace": namespace}, "spec": spec}, api=api)
    await made.create()
    async with asyncio.timeout(20):
        await made.wait("condition=Available", timeout=15)
        [pod] = await made.pods()
        assert isinstance(pod, Pod)
        assert [line async for line in pod.logs()] == ["hello"]
        await made.scale(2)
        while len(await made.pods()) != 2:
            await asyncio.sleep(0.05)
        await made.delete(propagation_policy="Foreground")
        await made.wait("delete", timeout=10)
