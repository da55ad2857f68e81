"""kubectl, unmodified: what it shows of objects, and what it says of what a lab has not."""

from __future__ import annotations

import asyncio

import pytest
from tests.lab.apiserver.clients import Kubectl
from tests.lab.apiserver.test_kubectl import CRONTAB, DEFINITION, POD

pytestmark = [pytest.mark.kubectl, pytest.mark.slow]

NODE = """
apiVersion: v1
kind: Node
metadata: {name: n1}
"""
EVENT = """
apiVersion: v1
kind: Event
metadata: {name: one.1}
involvedObject: {kind: Pod, name: one, namespace: default, uid: UID}
reason: Tested
message: it was looked at
type: Normal
"""


@pytest.fixture
async def shop(kubectl: Kubectl) -> Kubectl:
    """kubectl on a cluster with something of each sort."""
    for one in (POD, NODE):
        await kubectl("create", "-f", "-", stdin=one)
    uid = await kubectl("get", "pod", "one", "-o", "jsonpath={.metadata.uid}")
    await kubectl("create", "-f", "-", stdin=EVENT.replace("UID", uid))
    await kubectl("create", "deployment", "web", "--image=a:1", "--replicas=2")
    await kubectl("expose", "deployment", "web", "--port=80")
    await kubectl("create", "configmap", "c", "--from-literal=k=told")
    return kubectl


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (("pod", "one"), "busybox"),
        (("pod", "one"), "it was looked at"),
        (("deployment", "web"), "a:1"),
        (("service", "web"), "80/TCP"),
        (("configmap", "c"), "told"),
        (("namespace", "default"), "Active"),
        (("node", "n1"), "n1"),
        (("serviceaccount", "default"), "default"),
    ],
    ids=lambda one: one[0] if isinstance(one, tuple) else "",
)
async def test_describe(shop: Kubectl, what: tuple[str, str], said: str) -> None:
    """``describe`` finds everything that it puts together, events too."""
    if what[0] == "serviceaccount":
        await shop("create", "serviceaccount", "default")
    assert said in await shop("describe", *what)


async def test_what_there_is(shop: Kubectl) -> None:
    """``api-resources``, ``api-versions``, ``explain`` and ``get --raw`` tell the same of a custom kind."""
    await shop("create", "-f", "-", stdin=DEFINITION)
    await shop("wait", "--for=condition=established", "crd/crontabs.stable.example.com", "--timeout=5s")
    await shop("create", "-f", "-", stdin=CRONTAB)
    line = (await shop("api-resources", "--api-group=stable.example.com", "--no-headers", "-o", "wide")).split()
    assert line[:5] == ["crontabs", "ct", "stable.example.com/v1", "true", "CronTab"]
    assert "stable.example.com/v1" in (await shop("api-versions")).split()
    assert "deployments" in await shop("api-resources", "--categories=all", "--verbs=list", "-o", "name")
    assert '"name":"my"' in await shop("get", "--raw", "/apis/stable.example.com/v1/namespaces/default/crontabs/my")
    assert "The times." in await shop("explain", "ct.spec.cronSpec")
    assert "Events:" in await shop("describe", "ct", "my")


async def test_what_is_asked_first(shop: Kubectl) -> None:
    """``version`` and ``cluster-info`` know the server that they ask."""
    server = (await shop.json("version"))["serverVersion"]
    assert server["gitVersion"].startswith(f"v{server['major']}.{server['minor']}.")
    assert "control plane is running at" in await shop("cluster-info")


async def test_what_is_of_several(shop: Kubectl) -> None:
    """``get -A`` has all namespaces, ``--subresource`` the status alone, ``delete -l`` takes what is selected."""
    await shop("create", "namespace", "other")
    for namespace, name in (("default", "a"), ("default", "b"), ("other", "a")):
        await shop("-n", namespace, "create", "configmap", name)
        await shop("-n", namespace, "label", "configmap", name, "tier=front")
    everywhere = (await shop("get", "cm", "-A", "-l", "tier=front", "-o", "wide", "--no-headers")).splitlines()
    assert [row.split()[:2] for row in everywhere] == [["default", "a"], ["default", "b"], ["other", "a"]]
    assert "Pending" in await shop("get", "pod", "one", "--subresource=status", "-o", "jsonpath={.status.phase}")
    assert await shop("delete", "cm", "-l", "tier=front", "-o", "name") == "configmap/a\nconfigmap/b\n"
    assert await shop("get", "cm", "-A", "-l", "tier=front", "-o", "name") == "configmap/a\n"


async def test_watching_one(shop: Kubectl) -> None:
    """``get NAME -w`` prints the object, then its changes and no one else's."""
    process = await shop.start("get", "cm", "c", "-w", "--no-headers")
    assert process.stdout is not None
    async with asyncio.timeout(10):
        assert (await process.stdout.readline()).split()[:2] == [b"c", b"1"]
        await shop("create", "configmap", "d")
        await shop("patch", "cm", "c", "-p", '{"data":{"more":"x"}}')
        assert (await process.stdout.readline()).split()[:2] == [b"c", b"2"]
        process.terminate()
        await process.communicate()


async def test_waiting_for_what_is_not_there_yet(kubectl: Kubectl) -> None:
    """``wait --for=create`` ends when the object is there, ``--for=delete`` at once for what never was."""
    waiting = await kubectl.start("wait", "--for=create", "cm/c", "--timeout=10s")
    await kubectl("create", "configmap", "c")
    out, err = await waiting.communicate()
    assert (waiting.returncode, b"condition met" in out) == (0, True), err
    await kubectl("wait", "--for=delete", "cm/other", "--timeout=5s")


async def test_workloads_are_set(shop: Kubectl) -> None:
    """``set``, ``rollout pause`` and ``resume`` change a Deployment."""
    await shop("set", "env", "deploy/web", "A=b")
    await shop("set", "resources", "deploy/web", "--limits=cpu=1")
    await shop("set", "serviceaccount", "deploy/web", "bob")
    await shop("rollout", "pause", "deploy/web")
    spec = (await shop.json("get", "deploy", "web"))["spec"]
    pod = spec["template"]["spec"]
    assert (pod["containers"][0]["env"], spec["paused"]) == ([{"name": "A", "value": "b"}], True)
    assert (pod["containers"][0]["resources"], pod["serviceAccountName"]) == ({"limits": {"cpu": "1"}}, "bob")
    await shop("rollout", "resume", "deploy/web")
    assert "paused" not in (await shop.json("get", "deploy", "web"))["spec"]


async def test_policies(kubectl: Kubectl) -> None:
    """A PodDisruptionBudget out of ``create``, and a NetworkPolicy with every field that one has."""
    await kubectl("create", "poddisruptionbudget", "p", "--selector=app=web", "--min-available=0")
    assert (await kubectl.json("get", "pdb", "p"))["spec"]["minAvailable"] == 0
    policy = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: net}
spec:
  podSelector: {}
  policyTypes: [Ingress, Egress]
  ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}], ports: [{port: 80, endPort: 90}]}]
  egress: [{to: [{namespaceSelector: {matchLabels: {a: b}}}]}]
"""
    await kubectl("create", "-f", "-", stdin=policy)
    assert (await kubectl.json("get", "netpol", "net"))["spec"]["ingress"][0]["from"][0]["ipBlock"]["except"] == [
        "10.1.0.0/16"
    ]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("exec", "one", "--", "true"), "a lab has no streams into its pods"),
        (("attach", "one"), "a lab has no streams into its pods"),
        (("cp", "one:/etc/hosts", "/tmp/hosts"), "a lab has no streams into its pods"),  # noqa: S108  # not written
        (("top", "pods"), "Metrics API not available"),
        (("debug", "one", "--image=a"), "the server could not find the requested resource"),
        (("get", "jobs"), 'the server doesn\'t have a resource type "jobs"'),
        (("create", "job", "j", "--image=a"), "the server could not find the requested resource"),
        (("create", "quota", "q"), "the server could not find the requested resource"),
    ],
    ids=lambda one: " ".join(one[:2]) if isinstance(one, tuple) else "",
)
async def test_what_a_lab_has_not(shop: Kubectl, command: tuple[str, ...], said: str) -> None:
    """What docs/limits.md says that there is not ends with an error that says so."""
    output = await shop.run(*command)
    assert output.code == 1
    assert said in output.err
    assert "panic" not in output.err
