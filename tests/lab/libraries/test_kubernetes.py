"""The official client: generated methods, the dynamic client, watches and the informer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.informer import ADDED, DELETED, MODIFIED, SharedInformer
from tests.lab.libraries.widgets import API_VERSION, KIND, widget
from tests.lab.machine import eventually

pytestmark = pytest.mark.slow


@pytest.fixture
def api(kubeconfig: Path) -> Iterator[client.ApiClient]:
    """The connection that every part of the client uses."""
    with config.new_client_from_config(str(kubeconfig)) as made:
        yield made


@pytest.fixture
def core(api: client.ApiClient) -> Any:
    """The core group's methods."""
    return client.CoreV1Api(api)


def config_map(name: str, **data: str) -> client.V1ConfigMap:
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels={"by": "tests"}), data=data)


def test_generated_methods(core: Any, namespace: str) -> None:
    """create, read, list by label in pages, patch, replace, delete, delete_collection."""
    for number in range(3):
        core.create_namespaced_config_map(namespace, config_map(f"c{number}", k="v"))
    page = core.list_namespaced_config_map(namespace, label_selector="by=tests", limit=2)
    rest = core.list_namespaced_config_map(
        namespace, label_selector="by=tests", limit=2, _continue=page.metadata._continue
    )
    assert [one.metadata.name for one in [*page.items, *rest.items]] == ["c0", "c1", "c2"]
    assert page.metadata.remaining_item_count is None
    core.patch_namespaced_config_map("c0", namespace, {"data": {"x": "1"}})
    read = core.read_namespaced_config_map("c0", namespace)
    assert read.data == {"k": "v", "x": "1"}
    read.data = {"only": "this"}
    core.replace_namespaced_config_map("c0", namespace, read)
    with pytest.raises(ApiException) as stale:
        core.replace_namespaced_config_map("c0", namespace, read)
    assert stale.value.status == 409
    core.delete_namespaced_config_map("c0", namespace)
    core.delete_collection_namespaced_config_map(namespace, label_selector="by=tests")
    assert core.list_namespaced_config_map(namespace, label_selector="by=tests").items == []


def test_every_group_decodes(api: client.ApiClient, namespace: str) -> None:
    """What the lab serves passes the client's own validation: nodes, services, slices, leases, events, rights."""
    core = client.CoreV1Api(api)
    service = client.V1Service(
        metadata=client.V1ObjectMeta(name="s"),
        spec=client.V1ServiceSpec(selector={"app": "s"}, ports=[client.V1ServicePort(port=80)]),
    )
    core.create_namespaced_service(namespace, service)
    assert core.list_node().items[0].status.addresses
    assert core.read_namespaced_service("s", namespace).spec.cluster_ip
    eventually(lambda: client.DiscoveryV1Api(api).list_namespaced_endpoint_slice(namespace).items)
    assert client.CoordinationV1Api(api).list_lease_for_all_namespaces().items
    assert client.RbacAuthorizationV1Api(api).read_cluster_role("admin").rules
    assert client.ApiextensionsV1Api(api).list_custom_resource_definition().items
    review = client.V1SelfSubjectAccessReview(
        spec=client.V1SelfSubjectAccessReviewSpec(
            resource_attributes=client.V1ResourceAttributes(verb="create", resource="pods", namespace=namespace)
        )
    )
    assert client.AuthorizationV1Api(api).create_self_subject_access_review(review).status.allowed
    assert client.VersionApi(api).get_code().git_version
    eventually(lambda: core.read_namespaced_service_account("default", namespace))


def test_the_dynamic_client(api: client.ApiClient, namespace: str) -> None:
    """Discovery finds the custom kind; apply, subresources and watch go through it."""
    widgets = DynamicClient(api).resources.get(api_version=API_VERSION, kind=KIND)
    first = widgets.server_side_apply(
        body=widget("w", size=2), name="w", namespace=namespace, field_manager="tests", force_conflicts=True
    )
    assert first.spec.size == 2
    body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "w"}, "status": {"size": 2}}
    widgets.status.patch(body=body, name="w", namespace=namespace, content_type="application/merge-patch+json")
    assert widgets.scale.get(name="w", namespace=namespace).status.replicas == 2
    seen = []
    for event in widgets.watch(namespace=namespace, timeout=5):
        seen.append((event["type"], event["object"].spec.size))
        if len(seen) == 1:
            change = {"spec": {"size": 3}}
            widgets.patch(body=change, name="w", namespace=namespace, content_type="application/merge-patch+json")
        elif event["type"] == "MODIFIED":
            widgets.delete(name="w", namespace=namespace)
        else:
            break
    assert seen == [("ADDED", 2), ("MODIFIED", 3), ("DELETED", 3)]


def test_a_watch_resumes_where_it_was(core: Any, namespace: str) -> None:
    """A second watch from the version of the first tells only what came since; a version of the future is refused."""
    begin = core.list_namespaced_config_map(namespace).metadata.resource_version
    core.create_namespaced_config_map(namespace, config_map("a", k="1"))
    stream = watch.Watch()
    first = next(iter(stream.stream(core.list_namespaced_config_map, namespace, resource_version=begin)))
    assert (first["type"], first["object"].metadata.name) in {("ADDED", "a"), ("ADDED", "kube-root-ca.crt")}
    core.delete_namespaced_config_map("a", namespace)
    since = core.read_namespaced_config_map("kube-root-ca.crt", namespace).metadata.resource_version
    again = watch.Watch()
    for event in again.stream(core.list_namespaced_config_map, namespace, resource_version=since, timeout_seconds=5):
        if event["type"] == "DELETED":
            again.stop()
            assert event["object"].metadata.name == "a"
            break
    else:
        pytest.fail("the deletion was not told")


def test_the_informer_holds_what_is_there(core: Any, namespace: str) -> None:
    """Its cache and its callbacks follow a hundred changes."""
    told: dict[str, list[str]] = {ADDED: [], MODIFIED: [], DELETED: []}
    informer = SharedInformer(list_func=core.list_namespaced_config_map, namespace=namespace, label_selector="by=tests")
    for kind, names in told.items():
        informer.add_event_handler(kind, lambda obj, names=names: names.append(obj.metadata.name))
    core.create_namespaced_config_map(namespace, config_map("first"))
    informer.start()
    try:
        eventually(lambda: informer.cache.get_by_key(f"{namespace}/first"))
        for number in range(40):
            core.create_namespaced_config_map(namespace, config_map(f"c{number}"))
        for number in range(40):
            core.patch_namespaced_config_map(f"c{number}", namespace, {"data": {"k": "v"}})
        for number in range(20):
            core.delete_namespaced_config_map(f"c{number}", namespace)
        eventually(lambda: len(told[DELETED]) == 20)
        left = {one.metadata.name for one in informer.cache.list()}
        assert left == {"first", *(f"c{number}" for number in range(20, 40))}
        assert [len(told[kind]) for kind in (ADDED, MODIFIED, DELETED)] == [41, 40, 20]
    finally:
        informer.stop()
