"""kubectl, unmodified, against the server: what administrators do with it."""

from __future__ import annotations

import asyncio
import json

import pytest
from tests.lab.apiserver.clients import Kubectl

pytestmark = [pytest.mark.kubectl, pytest.mark.slow]

DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: crontabs.stable.example.com}
spec:
  group: stable.example.com
  scope: Namespaced
  names: {plural: crontabs, kind: CronTab, shortNames: [ct], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}
    additionalPrinterColumns:
    - {name: Spec, type: string, jsonPath: .spec.cronSpec}
    - {name: Replicas, type: integer, jsonPath: .spec.replicas, priority: 1}
    schema:
      openAPIV3Schema:
        type: object
        description: Runs something at times.
        properties:
          spec:
            type: object
            description: What to run, and when.
            required: [cronSpec]
            properties:
              cronSpec: {type: string, pattern: '^\\S+ \\S+$', description: The times.}
              replicas: {type: integer, minimum: 1, maximum: 10, default: 1}
          status:
            type: object
            properties: {replicas: {type: integer}, phase: {type: string}}
"""
CRONTAB = """
apiVersion: stable.example.com/v1
kind: CronTab
metadata: {name: my}
spec: {cronSpec: "* 5"}
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: one, labels: {app: web}}
spec: {containers: [{name: main, image: busybox}]}
"""


@pytest.fixture
async def crontabs(kubectl: Kubectl) -> Kubectl:
    """kubectl on a cluster that knows CronTabs."""
    await kubectl("create", "-f", "-", stdin=DEFINITION)
    await kubectl("wait", "--for=condition=established", "crd/crontabs.stable.example.com", "--timeout=5s")
    return kubectl


async def test_every_output_form_of_get(kubectl: Kubectl) -> None:
    """``get`` prints tables, wide tables, YAML, JSON, JSONPath and names."""
    await kubectl("create", "-f", "-", stdin=POD)
    table = (await kubectl("get", "pods")).splitlines()
    assert table[0].split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert table[1].split()[:4] == ["one", "0/1", "Pending", "0"]
    wide = await kubectl("get", "po", "-o", "wide")
    assert "NOMINATED NODE" in wide.splitlines()[0]
    assert await kubectl("get", "pod", "one", "-o", "name") == "pod/one\n"
    assert (
        await kubectl("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].spec.containers[*].image}")
        == "busybox"
    )
    assert "image: busybox" in await kubectl("get", "pod", "one", "-o", "yaml")
    pod = await kubectl.json("get", "pod", "one")
    assert pod["spec"]["serviceAccountName"] == "default"
    assert pod["spec"]["containers"][0]["volumeMounts"][0]["mountPath"].endswith("/serviceaccount")


async def test_client_side_apply_creates_changes_and_leaves_alone(crontabs: Kubectl) -> None:
    """``apply`` creates, then patches what differs, then finds nothing to do."""
    assert "created" in await crontabs("apply", "-f", "-", stdin=CRONTAB)
    changed = CRONTAB.replace("* 5", "* 6")
    assert "configured" in await crontabs("apply", "-f", "-", stdin=changed)
    assert "unchanged" in await crontabs("apply", "-f", "-", stdin=changed)
    assert (await crontabs.json("get", "ct", "my"))["spec"] == {"cronSpec": "* 6", "replicas": 1}


SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  ports: [{port: 80}]
"""
WORKER = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: worker}
spec:
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 2}}
  selector: {matchLabels: {app: worker}}
  template:
    metadata: {labels: {app: worker}}
    spec:
      volumes: [{name: v, emptyDir: {}}]
      containers:
      - {name: a, image: "a:1", env: [{name: X, value: "1"}, {name: Z, value: "2"}], ports: [{containerPort: 80}]}
      - {name: b, image: "b:1"}
"""


async def test_client_side_apply_takes_out_of_lists_what_is_no_longer_there(kubectl: Kubectl) -> None:
    """A port, a container, a variable and the source of a volume that are changed or gone are so on the server too."""
    await kubectl("apply", "-f", "-", stdin=SERVICE)
    await kubectl("apply", "-f", "-", stdin=SERVICE.replace("80", "8080"))
    assert [port["port"] for port in (await kubectl.json("get", "svc", "web"))["spec"]["ports"]] == [8080]
    await kubectl("apply", "-f", "-", stdin=WORKER)
    changed = WORKER.replace('      - {name: b, image: "b:1"}\n', "").replace(', {name: Z, value: "2"}', "")
    changed = changed.replace("emptyDir: {}", "configMap: {name: c}").replace("containerPort: 80", "containerPort: 81")
    changed = changed.replace("{type: RollingUpdate, rollingUpdate: {maxSurge: 2}}", "{type: Recreate}")
    await kubectl("apply", "-f", "-", stdin=changed)
    spec = (await kubectl.json("get", "deploy", "worker"))["spec"]
    container, volume = spec["template"]["spec"]["containers"], spec["template"]["spec"]["volumes"]
    assert [one["name"] for one in container] == ["a"]
    assert container[0]["env"] == [{"name": "X", "value": "1"}]
    assert [port["containerPort"] for port in container[0]["ports"]] == [81]
    assert [sorted(one) for one in volume] == [["configMap", "name"]]
    assert spec["strategy"] == {"type": "Recreate"}


async def test_client_side_apply_of_a_built_in_kind_merges_lists_by_key(kubectl: Kubectl) -> None:
    """``apply`` of a Deployment changes one container's image and leaves the other container alone."""
    deployment = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: a, image: "a:1"}, {name: b, image: "b:1"}]}
"""
    await kubectl("apply", "-f", "-", stdin=deployment)
    await kubectl("apply", "-f", "-", stdin=deployment.replace("b:1", "b:2"))
    images = "jsonpath={.spec.template.spec.containers[*].image} {.metadata.generation}"
    assert await kubectl("get", "deploy", "web", "-o", images) == "a:1 b:2 2"


async def test_server_side_apply_puts_lists_into_the_order_that_is_applied(kubectl: Kubectl) -> None:
    """What comes new before an item that was there stands before it; an item of another manager stays."""
    ports = SERVICE.replace("{port: 80}", "{name: b, port: 81}")
    await kubectl("apply", "--server-side", "-f", "-", stdin=ports)
    other = SERVICE.replace("{port: 80}", "{name: c, port: 82}")
    await kubectl("apply", "--server-side", "--field-manager=other", "-f", "-", stdin=other)
    both = SERVICE.replace("{port: 80}", "{name: a, port: 80}, {name: b, port: 81}")
    await kubectl("apply", "--server-side", "-f", "-", stdin=both)
    assert await kubectl("get", "svc", "web", "-o", "jsonpath={.spec.ports[*].port}") == "80 81 82"


async def test_server_side_apply_names_conflicts_and_gives_up_what_it_no_longer_applies(crontabs: Kubectl) -> None:
    """``apply --server-side`` owns what it applies; another manager's value is a conflict until it is forced."""
    await crontabs("apply", "--server-side", "-f", "-", stdin=CRONTAB)
    await crontabs("scale", "ct", "my", "--replicas=3")
    wanted = CRONTAB.replace('"* 5"}', '"* 5", replicas: 4}')
    refused = await crontabs.run("apply", "--server-side", "--field-manager=other", "-f", "-", stdin=wanted)
    assert refused.code == 1
    assert "Apply failed with 1 conflict" in refused.err
    assert ".spec.replicas" in refused.err
    forced = ("apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", "-")
    await crontabs(*forced, stdin=wanted)
    assert (await crontabs.json("get", "ct", "my"))["spec"]["replicas"] == 4
    await crontabs(*forced, stdin=CRONTAB)
    assert (await crontabs.json("get", "ct", "my"))["spec"]["replicas"] == 1
    managers = (await crontabs.json("get", "ct", "my", "--show-managed-fields"))["metadata"]["managedFields"]
    assert [(one["manager"], one["operation"]) for one in managers] == [("kubectl", "Apply"), ("other", "Apply")]


async def test_server_side_apply_takes_over_from_client_side(crontabs: Kubectl) -> None:
    """An object that was applied by the client is handed over to the server without conflict."""
    await crontabs("apply", "-f", "-", stdin=CRONTAB)
    await crontabs("apply", "--server-side", "-f", "-", stdin=CRONTAB.replace("* 5", "* 7"))
    assert (await crontabs.json("get", "ct", "my"))["spec"]["cronSpec"] == "* 7"


async def test_custom_kinds_are_checked_with_the_path_of_what_is_wrong(crontabs: Kubectl) -> None:
    """A value that breaks the schema is refused with its field and the rule."""
    bad = CRONTAB.replace('"* 5"}', '"x", replicas: 11}')
    refused = await crontabs.run("create", "-f", "-", stdin=bad)
    assert "spec.cronSpec in body should match" in refused.err
    assert "spec.replicas: Invalid value: 11: spec.replicas in body should be less than or equal to 10" in refused.err
    unknown = await crontabs.run("create", "-f", "-", stdin=CRONTAB.replace('"* 5"}', '"* 5", oops: 1}'))
    assert 'strict decoding error: unknown field "spec.oops"' in unknown.err
    assert unknown.code == 1


async def test_custom_kinds_have_columns_categories_and_explanations(crontabs: Kubectl) -> None:
    """Printer columns, ``get all`` and ``explain`` work for a custom kind."""
    await crontabs("create", "-f", "-", stdin=CRONTAB)
    assert (await crontabs("get", "ct")).split() == ["NAME", "SPEC", "my", "*", "5"]
    assert "REPLICAS" in await crontabs("get", "ct", "-o", "wide")
    assert "crontab.stable.example.com/my" in await crontabs("get", "all", "-o", "name")
    explained = await crontabs("explain", "crontab.spec.cronSpec")
    assert "The times." in explained
    assert "What to run, and when." in await crontabs("explain", "ct.spec")
    assert "imagePullPolicy" in await crontabs("explain", "pod.spec.containers")


async def test_status_and_spec_are_written_apart(crontabs: Kubectl) -> None:
    """A patch of the status leaves spec and generation; a patch of the object leaves the status."""
    await crontabs("create", "-f", "-", stdin=CRONTAB)
    both = json.dumps({"spec": {"replicas": 5}, "status": {"phase": "Fine"}})
    await crontabs("patch", "ct", "my", "--type=merge", "--subresource=status", "-p", both)
    after = await crontabs.json("get", "ct", "my")
    assert (after["spec"]["replicas"], after["status"], after["metadata"]["generation"]) == (1, {"phase": "Fine"}, 1)
    await crontabs("patch", "ct", "my", "--type=merge", "-p", both.replace("Fine", "Other"))
    after = await crontabs.json("get", "ct", "my")
    assert (after["spec"]["replicas"], after["status"], after["metadata"]["generation"]) == (5, {"phase": "Fine"}, 2)


async def test_the_patch_types(kubectl: Kubectl) -> None:
    """Strategic, merge and JSON patches change a built-in object, each by its own rules."""
    await kubectl("create", "deployment", "web", "--image=a:1")
    strategic = {"spec": {"template": {"spec": {"containers": [{"name": "a", "env": [{"name": "K", "value": "v"}]}]}}}}
    await kubectl("patch", "deploy", "web", "-p", json.dumps(strategic))
    await kubectl("patch", "deploy", "web", "--type=merge", "-p", '{"spec":{"paused":true}}')
    replace = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "a:2"}]
    await kubectl("patch", "deploy", "web", "--type=json", "-p", json.dumps(replace))
    spec = (await kubectl.json("get", "deploy", "web"))["spec"]
    container = spec["template"]["spec"]["containers"][0]
    assert (container["image"], container["env"], spec["paused"]) == ("a:2", [{"name": "K", "value": "v"}], True)
    await kubectl("set", "image", "deploy/web", "a=a:3")
    images = "jsonpath={.spec.template.spec.containers[*].image}"
    assert await kubectl("get", "deploy", "web", "-o", images) == "a:3"


async def test_labels_annotations_and_selectors(kubectl: Kubectl) -> None:
    """Objects are labelled, annotated, and found by labels and fields."""
    for name in ("a", "b", "c"):
        await kubectl("create", "configmap", name, "--from-literal=k=v")
    await kubectl("label", "cm", "a", "b", "tier=front")
    await kubectl("annotate", "cm", "a", "note=x")
    assert (await kubectl("get", "cm", "-l", "tier in (front),!old", "-o", "name")).split() == [
        "configmap/a",
        "configmap/b",
    ]
    assert await kubectl("get", "cm", "--field-selector", "metadata.name=c", "-o", "name") == "configmap/c\n"
    refused = await kubectl.run("get", "cm", "--field-selector", "spec.x=y")
    assert "field label not supported: spec.x" in refused.err


async def test_generators_that_speak_protobuf(kubectl: Kubectl) -> None:
    """What kubectl sends in protobuf is stored as it was meant."""
    await kubectl("create", "namespace", "shop")
    await kubectl("create", "configmap", "c", "--from-literal=a=b", "--from-literal=empty=")
    await kubectl("create", "secret", "generic", "s", "--from-literal=a=b")
    await kubectl("create", "serviceaccount", "bob")
    await kubectl("create", "role", "reader", "--verb=get,list", "--resource=pods")
    await kubectl("create", "rolebinding", "bobs", "--role=reader", "--serviceaccount=default:bob")
    await kubectl("create", "deployment", "web", "--image=nginx:1", "--replicas=0", "--port=80")
    await kubectl("expose", "deployment", "web", "--port=80", "--target-port=http")
    assert (await kubectl.json("get", "cm", "c"))["data"] == {"a": "b", "empty": ""}
    assert (await kubectl.json("get", "secret", "s"))["data"] == {"a": "Yg=="}
    assert (await kubectl.json("get", "deploy", "web"))["spec"]["replicas"] == 0
    port = {"port": 80, "protocol": "TCP", "targetPort": "http"}
    assert (await kubectl.json("get", "svc", "web"))["spec"]["ports"] == [port]
    token = (await kubectl("create", "token", "bob")).strip()
    assert await kubectl("--token", token, "--kubeconfig", str(kubectl.kubeconfig), "auth", "whoami", "-o", "name")


async def test_permissions_are_those_of_the_roles(kubectl: Kubectl) -> None:
    """A user may do what its roles say, and is told in the usual words what it may not."""
    await kubectl("create", "serviceaccount", "bob")
    await kubectl("create", "role", "reader", "--verb=get,list", "--resource=pods")
    await kubectl("create", "rolebinding", "bobs", "--role=reader", "--serviceaccount=default:bob")
    bob = ("--as", "system:serviceaccount:default:bob")
    assert await kubectl("auth", "can-i", "list", "pods", *bob) == "yes\n"
    denied = await kubectl.run("auth", "can-i", "delete", "pods", *bob)
    assert (denied.code, denied.out.split()[0]) == (1, "no")
    refused = await kubectl.run("get", "secrets", *bob)
    why = 'secrets is forbidden: User "system:serviceaccount:default:bob" cannot list resource "secrets"'
    assert f'{why} in API group "" in the namespace "default"' in refused.err
    assert "pods" in await kubectl("auth", "can-i", "--list", *bob)


async def test_watching_with_kubectl(kubectl: Kubectl) -> None:
    """``get -w`` prints a row for each change."""
    await kubectl("create", "configmap", "a")
    process = await kubectl.start("get", "cm", "-w", "--no-headers")
    assert process.stdout is not None
    async with asyncio.timeout(10):
        assert (await process.stdout.readline()).split()[:2] == [b"a", b"0"]
        await kubectl("create", "configmap", "b", "--from-literal=k=v")
        assert (await process.stdout.readline()).split()[:2] == [b"b", b"1"]
        await kubectl("delete", "cm", "a")
        assert (await process.stdout.readline()).split()[:2] == [b"a", b"0"]
        process.terminate()
        await process.communicate()


async def test_waiting_and_deleting(crontabs: Kubectl) -> None:
    """``wait`` sees a condition arrive; ``delete`` waits for finalizers."""
    await crontabs(
        "create", "-f", "-", stdin=CRONTAB.replace("{name: my}", "{name: my, finalizers: [example.com/hold]}")
    )
    waiting = await crontabs.start("wait", "--for=jsonpath={.status.phase}=Done", "ct/my", "--timeout=10s")
    await crontabs("patch", "ct", "my", "--type=merge", "--subresource=status", "-p", '{"status":{"phase":"Done"}}')
    async with asyncio.timeout(10):
        out, _ = await waiting.communicate()
    assert b"condition met" in out
    deleting = await crontabs.start("delete", "ct", "my", "--timeout=10s")
    await crontabs("wait", "--for=jsonpath={.metadata.deletionTimestamp}", "ct/my", "--timeout=10s")
    await crontabs("patch", "ct", "my", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    async with asyncio.timeout(10):
        out, _ = await deleting.communicate()
    assert (deleting.returncode, (await crontabs.run("get", "ct", "my")).code) == (0, 1)


async def test_scaling(crontabs: Kubectl) -> None:
    """``scale`` works for Deployments and for custom kinds, with and without the present number."""
    await crontabs("create", "-f", "-", stdin=CRONTAB)
    await crontabs("scale", "ct", "my", "--replicas=3")
    await crontabs("scale", "ct", "my", "--current-replicas=3", "--replicas=4")
    assert (await crontabs.json("get", "ct", "my"))["spec"]["replicas"] == 4
    await crontabs("create", "deployment", "web", "--image=a")
    await crontabs("scale", "deploy/web", "--replicas=5")
    assert (await crontabs.json("get", "deploy", "web"))["spec"]["replicas"] == 5


async def test_dry_run_stores_nothing(kubectl: Kubectl) -> None:
    """``--dry-run=server`` answers with the completed object and keeps nothing."""
    out = await kubectl("create", "-f", "-", "--dry-run=server", "-o", "yaml", stdin=POD)
    assert "restartPolicy: Always" in out
    assert (await kubectl.run("get", "pod", "one")).code == 1


async def test_replace_and_stale_replace(kubectl: Kubectl) -> None:
    """``replace`` of an object that somebody changed since is refused in the usual words."""
    await kubectl("create", "configmap", "c", "--from-literal=a=1")
    stale = json.dumps(await kubectl.json("get", "cm", "c"))
    await kubectl("replace", "-f", "-", stdin=stale.replace('"1"', '"2"'))
    refused = await kubectl.run("replace", "-f", "-", stdin=stale.replace('"1"', '"3"'))
    assert 'Operation cannot be fulfilled on configmaps "c": the object has been modified' in refused.err


async def test_namespaces_are_needed_and_finalized(kubectl: Kubectl) -> None:
    """An object needs its namespace; a deleted namespace is Terminating until it is finalized."""
    refused = await kubectl.run("-n", "nowhere", "create", "configmap", "c")
    assert 'namespaces "nowhere" not found' in refused.err
    await kubectl("create", "namespace", "shop")
    await kubectl("delete", "namespace", "shop", "--wait=false")
    assert "Terminating" in await kubectl("get", "ns", "shop")
    refused = await kubectl.run("-n", "shop", "create", "configmap", "c")
    assert "because it is being terminated" in refused.err
    namespace = await kubectl.json("get", "ns", "shop")
    namespace["spec"] = {}
    await kubectl("replace", "--raw", "/api/v1/namespaces/shop/finalize", "-f", "-", stdin=json.dumps(namespace))
    assert (await kubectl.run("get", "ns", "shop")).code == 1


async def test_deleting_a_definition_removes_its_objects(crontabs: Kubectl) -> None:
    """A deleted definition takes its objects along, waits for their finalizers, and comes back empty."""
    held = CRONTAB.replace("{name: my}", "{name: held, finalizers: [example.com/hold]}")
    await crontabs("create", "-f", "-", stdin=CRONTAB)
    await crontabs("create", "-f", "-", stdin=held)
    await crontabs("delete", "crd", "crontabs.stable.example.com", "--wait=false")
    await crontabs("wait", "--for=delete", "ct/my", "--timeout=10s")
    await crontabs("patch", "ct", "held", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    await crontabs("wait", "--for=delete", "crd/crontabs.stable.example.com", "--timeout=10s")
    await crontabs("create", "-f", "-", stdin=DEFINITION)
    assert await crontabs("get", "ct", "-o", "name") == ""
