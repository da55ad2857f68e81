"""lightkube: typed and generic resources through every verb."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lightkube import ApiError, Client, KubeConfig
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.apps_v1 import DeploymentSpec
from lightkube.models.core_v1 import Container, PodSpec, PodTemplateSpec
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Pod
from lightkube.types import CascadeType, PatchType
from tests.lab.libraries.widgets import GROUP, KIND, PLURAL, VERSION, widget
from tests.lab.machine import eventually

pytestmark = pytest.mark.slow

Widget: Any = create_namespaced_resource(GROUP, VERSION, KIND, PLURAL)


@pytest.fixture
def client(kubeconfig: Path, namespace: str) -> Iterator[Client]:
    """A client at home in the test's namespace."""
    with Client(config=KubeConfig.from_file(kubeconfig), namespace=namespace, field_manager="tests") as made:
        yield made


def test_typed_objects_come_change_and_go(client: Client) -> None:
    """create, get, list in pages, replace with the version it read, each patch, delete, deletecollection."""
    for number in range(5):
        meta = ObjectMeta(name=f"c{number}", labels={"odd": str(number % 2)})
        client.create(ConfigMap(metadata=meta, data={"k": "v"}))
    assert len(list(client.list(ConfigMap, labels={"odd": "1"}))) == 2
    assert len(list(client.list(ConfigMap, chunk_size=2, labels={"odd": ["0", "1"]}))) == 5
    read = client.get(ConfigMap, "c0")
    read.data = {"k": "w"}
    client.replace(read)
    with pytest.raises(ApiError) as stale:
        client.replace(read)
    assert (stale.value.status.code, stale.value.status.reason) == (409, "Conflict")
    client.patch(ConfigMap, "c0", {"data": {"x": "1"}}, patch_type=PatchType.MERGE)
    client.patch(ConfigMap, "c0", {"data": {"y": "2"}})
    client.patch(ConfigMap, "c0", [{"op": "remove", "path": "/data/k"}], patch_type=PatchType.JSON)
    assert client.get(ConfigMap, "c0").data == {"x": "1", "y": "2"}
    client.delete(ConfigMap, "c0")
    client.deletecollection(ConfigMap)
    assert list(client.list(ConfigMap, labels={"odd": ["0", "1"]})) == []


def test_apply_owns_fields(client: Client, namespace: str) -> None:
    """Server-side apply makes, changes, and refuses what another manager owns unless forced."""
    first = Widget.from_dict(widget("w", namespace=namespace, size=2, parts=[{"name": "a", "count": 1}]))
    assert client.apply(first)["spec"]["size"] == 2
    second = Widget.from_dict(widget("w", namespace=namespace, size=3, parts=[{"name": "b", "count": 1}]))
    with pytest.raises(ApiError) as refused:
        client.apply(second, field_manager="other")
    assert refused.value.status.code == 409
    assert refused.value.status.details is not None
    assert [cause.field for cause in refused.value.status.details.causes or ()] == [".spec.size"]
    parts = client.apply(second, field_manager="other", force=True)["spec"]["parts"]
    assert [part["name"] for part in parts] == ["a", "b"]
    status = Widget.Status.from_dict(widget("w", namespace=namespace) | {"status": {"size": 3}})
    assert client.apply(status)["status"] == {"size": 3}


def test_a_watch_tells_every_change_in_order(client: Client) -> None:
    """A watch from a version tells what came after it, deletion included."""
    client.create(ConfigMap(metadata=ObjectMeta(name="a")))
    listed = client.list(ConfigMap)
    assert [one.metadata.name for one in listed if one.metadata] >= ["a"]
    for value in ("1", "2"):
        client.patch(ConfigMap, "a", {"data": {"k": value}})
    client.delete(ConfigMap, "a")
    told = []
    for event, obj in client.watch(ConfigMap, resource_version=listed.resourceVersion, server_timeout=5):
        told.append((event, (obj.data or {}).get("k")))
        if event == "DELETED":
            break
    assert told == [("MODIFIED", "1"), ("MODIFIED", "2"), ("DELETED", "2")]


def test_a_deployment_lives_and_goes_with_its_pods(client: Client) -> None:
    """wait sees the condition, the log is read, and a foreground delete ends with nothing left."""
    command = ["sh", "-c", "echo hello; exec sleep 60"]
    spec = PodSpec(containers=[Container(name="c", image="none", command=command)], terminationGracePeriodSeconds=0)
    template = PodTemplateSpec(metadata=ObjectMeta(labels={"app": "web"}), spec=spec)
    selector = LabelSelector(matchLabels={"app": "web"})
    client.create(Deployment(metadata=ObjectMeta(name="web"), spec=DeploymentSpec(selector, template, replicas=1)))
    client.wait(Deployment, "web", for_conditions=["Available"])
    [pod] = client.list(Pod, labels={"app": "web"})
    assert pod.metadata is not None
    assert pod.metadata.name is not None
    assert list(client.log(pod.metadata.name)) == ["hello\n"]
    client.delete(Deployment, "web", cascade=CascadeType.FOREGROUND)
    eventually(lambda: not list(client.list(Deployment, fields={"metadata.name": "web"})))
    assert list(client.list(Pod, labels={"app": "web"})) == []
