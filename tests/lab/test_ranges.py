"""Clusters and nodes with addresses of their user's choice, in a network namespace that has some."""

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.lab.machine import Cluster, Machine, eventually, processes_of
from tests.lab.node.live import SCRATCH
from tests.lab.workloads import WEB, container, pod, service, shell, web

from isthmus.lab.apiserver.identity.authority import load_authority, new_authority

pytestmark = [pytest.mark.slow, pytest.mark.kubectl]

SERVE = Path(__file__).parent / "apiserver" / "serve.py"
BARE_SERVICES = "127.96.0.0/16"  # as that server has them
PODS, SERVICES, NODE = "10.88.0.0/16", "10.89.0.0/16", "10.90.0.0/24"
NAMESPACE = f"ip link set lo up && for range in {PODS} {SERVICES} {NODE}; do ip route add local $range dev lo; done"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A folder for clusters within a network namespace of its own, which ends with its first process."""
    command = ["unshare", "--map-root-user", "--net", "sh", "-c", f"{NAMESPACE} && echo ready && exec cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdin is not None
        assert first.stdout is not None
        if first.stdout.readline() != "ready\n":
            pytest.skip("this machine does not allow network namespaces to its users")
        prefix = ("nsenter", "--target", str(first.pid), "--user", "--preserve-credentials", "--net")
        machine = Machine(tmp_path_factory.mktemp("lab"), prefix)
        try:
            yield machine
        finally:
            machine.lab("down")
            assert processes_of(machine.root) == []
            first.stdin.close()


@pytest.fixture(scope="module")
def cluster(machine: Machine) -> Cluster:
    """A cluster whose pods and Services have chosen addresses."""
    options = ("--pod-cidr", PODS, "--service-cidr", SERVICES, "--output", "json")
    (found,) = json.loads(machine.lab("up", "red", *options).stdout)["clusters"]
    return Cluster(**found, prefix=machine.prefix)


ASKS = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=5).read().decode())"


def ask(cluster: Cluster, name: str, url: str, **spec: object) -> str:
    """What a pod is answered."""
    cluster.apply(pod("default", name, container("python3", "-c", ASKS, url), restartPolicy="OnFailure", **spec))
    cluster.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{name}", "--timeout=15s")
    said = cluster.kubectl("logs", name).strip()
    cluster.kubectl("delete", "pod", name, "--wait=false")
    return said


def test_a_range_that_the_machine_lacks(machine: Machine) -> None:
    """The error names the command that makes it, and nothing is left of the cluster."""
    result = machine.lab("up", "none", "--pod-cidr", "10.91.0.0/16", check=False)
    assert result.returncode == 1
    assert result.stderr.endswith("make them so, as root: ip route add local 10.91.0.0/16 dev lo\n")
    assert "none" not in machine.lab("list").stdout
    assert not (machine.root / "none").exists()


def test_pods_and_services_have_chosen_addresses(cluster: Cluster) -> None:
    """They get them out of the ranges, and reach each other there."""
    cluster.apply(*web("default"))
    cluster.kubectl("rollout", "status", "deploy/web", "--timeout=15s")
    found = cluster.get("pods", "-l", "app=web")["items"]  # those of another test may still be on their way out
    (item,) = [each for each in found if "deletionTimestamp" not in each["metadata"]]
    address = cluster.get("service", "web")["spec"]["clusterIP"]
    assert item["status"]["podIP"].startswith("10.88.0.")
    assert address.startswith("10.89.")
    assert ask(cluster, "asks", f"http://{address}:8000") == item["metadata"]["name"]
    cluster.kubectl("delete", "deploy,service,configmap", "web")


@pytest.fixture
def node(machine: Machine, cluster: Cluster) -> Iterator[subprocess.Popen[str]]:
    """A second node, by itself, that knows the cluster by its kubeconfig only."""
    options = ("--kubeconfig", cluster.kubeconfig, "--name", "two", "--pod-cidr", NODE, "--dns", cluster.dns)
    with machine.start_lab("node", *options) as process:
        assert process.stdout is not None
        try:
            assert 'event="node is ready" node=two' in process.stdout.readline()
            yield process
        finally:
            process.kill()
    cluster.kubectl("delete", "node", "two")


def ready(cluster: Cluster, node: str) -> str:
    conditions = cluster.get("node", node)["status"]["conditions"]
    return str(next(one["status"] for one in conditions if one["type"] == "Ready"))


@pytest.mark.usefixtures("node")
def test_a_node_by_itself(cluster: Cluster) -> None:
    """It runs pods with its own addresses, tokens, ConfigMaps, probes; Services lead to them, and they to Services."""
    here = {"kubernetes.io/hostname": "two"}
    objects = web("default", replicas=2)
    objects[1]["spec"]["template"]["spec"]["nodeSelector"] = here
    cluster.apply(*objects)
    cluster.kubectl("rollout", "status", "deploy/web", "--timeout=15s")
    items = cluster.get("pods", "-l", "app=web")["items"]
    assert {item["status"]["podIP"][:6] for item in items} == {"10.90."}
    address = cluster.get("service", "web")["spec"]["clusterIP"]
    assert ask(cluster, "asks", f"http://{address}:8000") in {item["metadata"]["name"] for item in items}
    whoami = shell("kubectl auth whoami -o 'jsonpath={.status.userInfo.username}'")
    cluster.apply(pod("default", "who", whoami, nodeSelector=here, restartPolicy="Never"))
    cluster.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/who", "--timeout=15s")
    assert cluster.kubectl("logs", "who").strip() == "system:serviceaccount:default:default"
    cluster.kubectl("delete", "pod", "who")
    cluster.kubectl("delete", "deploy,service,configmap", "web", "--timeout=10s")


WAIT = "until [ -e /w/{} ]; do sleep 0.02; done"


@pytest.mark.usefixtures("node")
def test_logs_of_a_node_by_itself(machine: Machine, cluster: Cluster) -> None:
    """The API server asks the node for them, with every option, and only who has the right gets them from the node."""
    here = {"kubernetes.io/hostname": "two"}
    script = f"echo one; {WAIT.format('go')}; echo two; {WAIT.format('end')}; exit 1"
    talks = shell(script, volumeMounts=[SCRATCH])
    volumes = [{"name": "w", "emptyDir": {}}]
    cluster.apply(pod("default", "talks", talks, volumes=volumes, nodeSelector=here))
    cluster.kubectl("wait", "--for=condition=Ready", "pod/talks", "--timeout=10s")
    uid = cluster.get("pod", "talks")["metadata"]["uid"]
    folder = machine.root / ".nodes" / "two" / "pods" / uid / "volumes" / "w"
    with cluster.start_kubectl("logs", "-f", "talks") as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "one\n"
        (folder / "go").touch()
        assert following.stdout.readline() == "two\n"
        assert cluster.kubectl("logs", "talks", "--tail=1", "--since=1h") == "two\n"
        assert cluster.kubectl("logs", "talks", "--limit-bytes=2") == "on"
        assert cluster.kubectl("logs", "talks", "--timestamps").splitlines()[0].endswith("Z one")
        nothing = cluster.try_kubectl("logs", "talks", "--previous")
        assert 'previous terminated container "c" in pod "default/talks" not found' in nothing.stderr
        (folder / "end").touch()
        assert following.wait(timeout=5) == 0
    eventually(lambda: cluster.get("pod", "talks")["status"]["containerStatuses"][0]["restartCount"])
    assert cluster.kubectl("logs", "talks", "--previous") == "one\ntwo\n"
    cluster.kubectl("delete", "pod", "talks", "--grace-period=1")


CURL = """
import ssl, sys, urllib.error, urllib.request
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
if len(sys.argv) > 2:
    context.load_cert_chain(sys.argv[2])
try:
    print(urllib.request.urlopen(sys.argv[1], context=context, timeout=5).status)
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
except OSError:
    print("refused")
"""


@pytest.mark.usefixtures("node")
def test_who_may_read_logs_from_a_node(machine: Machine, cluster: Cluster, tmp_path: Path) -> None:
    """Without a certificate of the cluster nobody is answered; with one, only who may use the node's proxy."""
    authority = load_authority(machine.root / "red" / "apiserver" / "pki", now=datetime.now(UTC))
    stranger = new_authority(now=datetime.now(UTC))
    credentials = {
        "nobody": authority.client("nobody", [], now=datetime.now(UTC)),
        "admin": authority.client("someone", ["system:masters"], now=datetime.now(UTC)),
        "stranger": stranger.client("someone", ["system:masters"], now=datetime.now(UTC)),
    }

    def get(path: str, *credential: str) -> str:
        files = [str(tmp_path / f"{name}.pem") for name in credential]
        command = [*machine.prefix, sys.executable, "-c", CURL, f"https://10.90.0.1:10250{path}", *files]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    for name, one in credentials.items():
        (tmp_path / f"{name}.pem").write_bytes(one.key + one.certificate)
    path = "/containerLogs/default/none/c"
    assert get(path) == "refused"
    assert get(path, "stranger") == "refused"
    assert get(path, "nobody") == "403 nobody may not get nodes/proxy of two"
    assert get(path, "admin") == "404 pod default/none does not run on two"
    assert get("/containerLogs/default/../c", "admin").startswith("404")
    cluster.apply(pod("default", "says", shell("exec sleep 1000"), nodeSelector={"kubernetes.io/hostname": "two"}))
    cluster.kubectl("wait", "--for=condition=Ready", "pod/says", "--timeout=10s")
    assert get("/containerLogs/default/says/c", "admin") == "200"
    assert get("/containerLogs/default/says/other", "admin") == "404 container other is not one of pod default/says"
    assert get("/containerLogs/default/says/c?tailLines=x", "admin").startswith("400 Reading the options of a log: ")
    cluster.kubectl("delete", "pod", "says", "--grace-period=1")


def test_a_node_that_is_stopped(machine: Machine, cluster: Cluster, node: subprocess.Popen[str]) -> None:
    """Its pods end with it, and it says that it takes no more."""
    cluster.apply(pod("default", "stays", shell("exec sleep 1000"), nodeSelector={"kubernetes.io/hostname": "two"}))
    cluster.kubectl("wait", "--for=condition=Ready", "pod/stays", "--timeout=10s")
    assert len(processes_of(machine.root / ".nodes")) == 1
    node.send_signal(signal.SIGTERM)
    assert node.wait(timeout=10) == 0
    assert processes_of(machine.root / ".nodes") == []
    assert ready(cluster, "two") == "False"
    cluster.kubectl("delete", "pod", "stays", "--force", "--grace-period=0")


def test_a_node_that_is_killed(machine: Machine, cluster: Cluster, node: subprocess.Popen[str]) -> None:
    """Nothing that it ran is left within two seconds."""
    cluster.apply(pod("default", "stays", shell("exec sleep 1000"), nodeSelector={"kubernetes.io/hostname": "two"}))
    cluster.kubectl("wait", "--for=condition=Ready", "pod/stays", "--timeout=10s")
    os.kill(node.pid, signal.SIGKILL)
    eventually(lambda: processes_of(machine.root / ".nodes") == [], within_s=2)
    cluster.kubectl("delete", "pod", "stays", "--force", "--grace-period=0")


def test_a_node_that_can_not_be(machine: Machine, cluster: Cluster, tmp_path: Path) -> None:
    """A range that is not here, and a server that is not there, are errors in one line."""
    options = ("node", "--kubeconfig", cluster.kubeconfig, "--name", "three")
    lacks = machine.lab(*options, "--pod-cidr", "10.91.0.0/24", check=False)
    assert (lacks.returncode, "ip route add local 10.91.0.0/24 dev lo" in lacks.stderr) == (1, True)
    missing = machine.lab("node", "--kubeconfig", str(tmp_path / "none"), "--pod-cidr", NODE, check=False)
    assert (missing.returncode, missing.stderr.startswith(f"error: Reading {tmp_path / 'none'}: ")) == (1, True)
    away = tmp_path / "away"
    away.write_text(Path(cluster.kubeconfig).read_text().replace(cluster.server, "https://127.0.0.1:9"))
    nobody = machine.lab("node", "--kubeconfig", str(away), "--name", "three", "--pod-cidr", NODE, check=False)
    assert nobody.returncode == 1
    assert nobody.stderr.startswith("error: Running node 'three': Reaching https://127.0.0.1:9: ")


@pytest.fixture
def bare(machine: Machine, tmp_path: Path) -> Iterator[Cluster]:
    """An API server and nothing else: no controllers, no scheduler, no node, no proxy."""
    command = [*machine.prefix, sys.executable, str(SERVE), str(tmp_path / "data")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        kubeconfig = tmp_path / "kubeconfig"
        ca = base64.b64encode(told["ca"].encode()).decode()
        document = {
            "clusters": [{"name": "c", "cluster": {"server": told["url"], "certificate-authority-data": ca}}],
            "users": [{"name": "u", "user": {"token": told["admin_token"]}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        kubeconfig.write_text(json.dumps(document))
        try:
            yield Cluster("bare", str(kubeconfig), told["url"], "", "", process.pid, prefix=machine.prefix)
        finally:
            process.terminate()


RESOLVES = """
import os, sys, urllib.request, dns.resolver
resolver = dns.resolver.Resolver(configure=False)
host, _, port = os.environ["DNS_SERVER"].partition(":")
resolver.nameservers, resolver.port = [host], int(port)
address = resolver.resolve("web.default.svc.cluster.local", "A")[0].to_text()
print(address, urllib.request.urlopen(f"http://{address}:8000", timeout=5).read().decode())
"""


def test_a_node_that_answers_for_services(machine: Machine, bare: Cluster) -> None:
    """With nothing but an API server, a node makes Services reachable, with their ports translated, and their names."""
    options = ("--kubeconfig", bare.kubeconfig, "--name", "alone", "--pod-cidr", NODE, "--service-cidr", BARE_SERVICES)
    spec = {"nodeName": "alone", "automountServiceAccountToken": False}
    server = container("python3", "-c", WEB)
    probe = {"tcpSocket": {"port": 8080}}
    slice_ = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "web-x", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }
    with machine.start_lab("node", *options) as node:
        assert node.stdout is not None
        assert 'event="logs are not served"' in node.stdout.readline() + node.stdout.readline()
        bare.apply(pod("default", "web", {**server, "readinessProbe": probe}, **spec), service("default", "web"))
        bare.kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=10s")
        address = bare.get("pod", "web")["status"]["podIP"]
        bare.apply({**slice_, "endpoints": [{"addresses": [address], "conditions": {"ready": True}}]})
        asks = shell(f"python3 -c '{RESOLVES}' > /dev/termination-log")
        bare.apply(pod("default", "asks", asks, restartPolicy="OnFailure", **spec))
        bare.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/asks", "--timeout=15s")
        (status,) = bare.get("pod", "asks")["status"]["containerStatuses"]
        cluster_ip = bare.get("service", "web")["spec"]["clusterIP"]
        assert status["state"]["terminated"]["message"] == f"{cluster_ip} web\n"
        node.send_signal(signal.SIGTERM)
        assert node.wait(timeout=10) == 0
