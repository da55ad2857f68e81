"""Whole clusters, with real processes and kubectl."""

import base64
import itertools
import json
import os
import signal
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.lab.machine import Cluster, Machine, eventually, http_get, processes_of, refused
from tests.lab.workloads import config_map, container, pod, service, shell, web

from isthmus.lab.clusters import ClusterFolder

pytestmark = [pytest.mark.slow, pytest.mark.kubectl]

NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A folder for clusters; nothing of them is left at the end."""
    machine = Machine(tmp_path_factory.mktemp("lab"))
    try:
        yield machine
    finally:
        machine.lab("down")
        assert processes_of(machine.root) == []


@pytest.fixture(scope="module")
def clusters(machine: Machine) -> list[Cluster]:
    """Two clusters."""
    return machine.up("red", "green")


@pytest.fixture
def red(clusters: list[Cluster]) -> Cluster:
    """The cluster in which most is tried."""
    return clusters[0]


@pytest.fixture
def namespace(red: Cluster) -> Iterator[str]:
    """A namespace of one's own."""
    name = f"n{next(NUMBERS)}"
    red.kubectl("create", "namespace", name)
    yield name
    red.kubectl("delete", "namespace", name, "--wait=false")


def test_up_again_changes_nothing(machine: Machine, clusters: list[Cluster]) -> None:
    """Starting what runs is harmless, and says the same."""
    assert machine.up("red", "green") == clusters


@pytest.mark.usefixtures("clusters")
def test_what_the_user_gets(machine: Machine) -> None:
    """Private kubeconfigs with one context each, one with both, and commands that tell of them."""
    red, green = machine.up("red", "green")
    assert stat.S_IMODE(Path(red.kubeconfig).stat().st_mode) == 0o600
    merged = yaml.safe_load((machine.root / "kubeconfig").read_text())
    assert sorted(context["name"] for context in merged["contexts"]) == ["green", "red"]
    assert merged["current-context"] == "red"
    assert (red.apps_domain, green.apps_domain) == ("apps.red.test", "apps.green.test")
    assert machine.lab("list").stdout.split() == ["green", "red"]
    assert "red" in machine.lab("status", "red").stdout
    assert machine.lab("kubeconfig", "red").stdout == Path(red.kubeconfig).read_text()
    assert red.kubectl("config", "current-context").strip() == "red"


@pytest.mark.usefixtures("clusters")
def test_bad_names(machine: Machine) -> None:
    """What can't be a cluster, or is none, is an error in one line."""
    for args, message in [
        (("up", "No_Name"), "error: Naming a cluster 'No_Name': expected"),
        (("kubeconfig", "nobody"), "error: Looking for cluster 'nobody': there is none in"),
        (("up", "red", "--apps-domain", "else.test"), "error: Starting cluster 'red' with apps domain else.test"),
    ]:
        result = machine.lab(*args, check=False)
        assert (result.returncode, result.stderr.startswith(message)) == (1, True), result.stderr


def test_everything_as_json(machine: Machine) -> None:
    """Every command says what it did as JSON too, and nothing else."""
    (gold,) = machine.up("gold")

    def told(*args: str) -> Any:
        return json.loads(machine.lab(*args, "--output", "json").stdout)

    described = {name: getattr(gold, name) for name in ("name", "kubeconfig", "server", "dns", "apps_domain", "pid")}
    assert described in told("list")["clusters"]
    assert told("status", "gold") == {"clusters": [{**described, "ready": True}]}
    assert told("kubeconfig", "gold") == yaml.safe_load(Path(gold.kubeconfig).read_text())
    assert told("down", "gold") == {"clusters": [{"name": "gold", "stopped": True}]}
    assert told("down", "gold") == {"clusters": [{"name": "gold", "stopped": False}]}
    assert told("delete", "gold") == {"clusters": [{"name": "gold", "deleted": True}]}
    wrong = machine.lab("down", "gold", "--output", "yaml", check=False)
    assert (wrong.returncode, "expected 'text' or 'json', not 'yaml'" in wrong.stderr) == (2, True)


def test_the_log_of_a_cluster(machine: Machine) -> None:
    """What its process says: all of it, its end, as JSON, and as it goes on until the cluster stops."""
    machine.up("gold")
    whole = machine.lab("logs", "gold").stdout
    assert 'event="cluster is ready" cluster=gold' in whole
    last = whole.splitlines(keepends=True)[-1]
    assert json.loads(machine.lab("logs", "gold", "--tail", "1", "-o", "json").stdout) == {
        "cluster": "gold",
        "line": last.removesuffix("\n"),
    }
    with machine.start_lab("logs", "gold", "-f", "--tail", "1") as following:
        assert following.stdout is not None
        assert following.stdout.readline() == last
        machine.lab("down", "gold")
        assert following.wait(timeout=5) == 0
    machine.lab("delete", "gold")
    missing = machine.lab("logs", "gold", check=False)
    assert (missing.returncode, missing.stderr[:33]) == (1, "error: Looking for cluster 'gold'"), missing.stderr


def test_a_taken_address(machine: Machine) -> None:
    """A cluster whose address is taken by something else does not start, and says why in one line."""
    plan = ClusterFolder(machine.root, "taken").prepare()
    with socket.create_server((plan.address, 6443)):
        result = machine.lab("up", "taken", check=False)
    assert result.returncode == 1
    assert (
        result.stderr.splitlines()[-1]
        .strip()
        .startswith(f"error: Running cluster 'taken' on {plan.address}: [Errno 98]")
    )
    machine.lab("delete", "taken")


def test_a_damaged_database(machine: Machine) -> None:
    """A cluster whose database is damaged does not start, and says why in one line."""
    folder = ClusterFolder(machine.root, "broken")
    folder.prepare()
    machine.up("broken")
    machine.lab("down", "broken")
    for path in (folder.path / "apiserver").glob("*.db*"):
        path.write_bytes(b"not a database" * 1000)
    result = machine.lab("up", "broken", check=False)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].strip().startswith("error: Running cluster 'broken'"), result.stderr
    machine.lab("delete", "broken")


def test_a_service_is_reachable(clusters: list[Cluster], red: Cluster, namespace: str) -> None:
    """By cluster IP, by load balancer, and by its names, also from the other cluster's name server."""
    red.apply(*web(namespace, replicas=2))
    red.kubectl("-n", namespace, "rollout", "status", "deploy/web", "--timeout=15s")
    pods = {item["metadata"]["name"] for item in red.get("pods", "-n", namespace)["items"]}
    found = red.get("service", "web", "-n", namespace)
    cluster_ip = found["spec"]["clusterIP"]
    (ingress,) = found["status"]["loadBalancer"]["ingress"]
    assert ingress["hostname"] == f"web.{namespace}.apps.red.test"
    eventually(lambda: {http_get(cluster_ip, 8000) for _ in range(8)} == pods)
    assert http_get(ingress["ip"], 8000) in pods
    for server in clusters:
        assert server.ask(ingress["hostname"]) == ("NOERROR", [ingress["ip"]])
    assert red.ask(f"web.{namespace}.svc.cluster.local") == ("NOERROR", [cluster_ip])
    assert red.ask(f"web.{namespace}.svc.cluster.local", tcp=True) == ("NOERROR", [cluster_ip])
    assert red.ask("example.org") == ("NXDOMAIN", [])


def test_scale(red: Cluster, namespace: str) -> None:
    """Pods come and go with the wished number; without any, a connection is refused at once."""
    red.apply(*web(namespace))
    address = red.get("service", "web", "-n", namespace)["spec"]["clusterIP"]
    for replicas in (3, 1):
        red.kubectl("-n", namespace, "scale", "deploy/web", f"--replicas={replicas}")
        red.kubectl("-n", namespace, "rollout", "status", "deploy/web", "--timeout=15s")
        eventually(lambda n=replicas: len({http_get(address, 8000) for _ in range(20)}) == n)  # type: ignore[misc]  # mypy does not see the default
    red.kubectl("-n", namespace, "scale", "deploy/web", "--replicas=0")
    eventually(lambda: refused(address, 8000))


def test_a_deleted_pod_is_replaced(red: Cluster, namespace: str) -> None:
    """Another pod with another address takes its place."""
    red.apply(*web(namespace))
    red.kubectl("-n", namespace, "rollout", "status", "deploy/web", "--timeout=15s")
    (before,) = red.get("pods", "-n", namespace)["items"]
    red.kubectl("-n", namespace, "delete", "pod", before["metadata"]["name"])
    red.kubectl("-n", namespace, "rollout", "status", "deploy/web", "--timeout=15s")
    (after,) = red.get("pods", "-n", namespace)["items"]
    assert after["metadata"]["name"] != before["metadata"]["name"]
    assert after["status"]["podIP"] != before["status"]["podIP"]


def test_a_rollout_never_stops_serving(red: Cluster, namespace: str) -> None:
    """While all pods are replaced, every request is answered."""
    red.apply(*web(namespace, replicas=2))
    red.kubectl("-n", namespace, "rollout", "status", "deploy/web", "--timeout=15s")
    address = red.get("service", "web", "-n", namespace)["spec"]["clusterIP"]
    eventually(lambda: http_get(address, 8000))
    before = {item["metadata"]["name"] for item in red.get("pods", "-n", namespace)["items"]}
    rollout = red.start_kubectl("-n", namespace, "rollout", "restart", "deploy/web")
    answers = {eventually(lambda: rollout.poll() is not None and http_get(address, 8000))}
    with rollout, red.start_kubectl("-n", namespace, "rollout", "status", "deploy/web", "--timeout=15s") as status:
        while status.poll() is None:
            answers.add(http_get(address, 8000))
        assert status.returncode == 0
    assert None not in answers
    after = {item["metadata"]["name"] for item in red.get("pods", "-n", namespace)["items"]}
    eventually(lambda: http_get(address, 8000) in after - before)


SCRATCH = {"name": "w", "mountPath": "/w"}
FILES = """
import http.server, os
http.server.HTTPServer((os.environ["POD_IP"], 8080), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


def scratch_of(cluster: Cluster, namespace: str, name: str) -> Path:
    """Where a pod's volume ``w`` is on this machine."""
    uid: str = cluster.get("pod", name, "-n", namespace)["metadata"]["uid"]
    return Path(cluster.kubeconfig).parent / "pods" / uid / "volumes" / "w"


def test_logs(red: Cluster, namespace: str) -> None:
    """What a container says is read as it says it."""
    talks = shell("echo one; read line < pipe; echo two; sleep 1000", workingDir="/w", volumeMounts=[SCRATCH])
    first = {**shell("mkfifo /w/pipe", volumeMounts=[SCRATCH]), "name": "first"}
    red.apply(pod(namespace, "talks", talks, initContainers=[first], volumes=[{"name": "w", "emptyDir": {}}]))
    red.kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/talks", "--timeout=10s")
    with red.start_kubectl("-n", namespace, "logs", "-f", "talks", "-c", "c") as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "one\n"
        (scratch_of(red, namespace, "talks") / "pipe").write_text("go\n")
        assert following.stdout.readline() == "two\n"
        red.kubectl("-n", namespace, "delete", "pod", "talks")
        assert following.wait(timeout=5) == 0


def test_readiness(red: Cluster, namespace: str) -> None:
    """A pod that is not ready gets no connections, and gets them soon after it is."""
    probe = {"exec": {"command": ["test", "-f", "/w/ready"]}, "periodSeconds": 1}
    mounts = [SCRATCH, {"name": "app", "mountPath": "/app"}]
    server = container("python3", "/app/files.py", workingDir="/app", readinessProbe=probe, volumeMounts=mounts)
    volumes = [{"name": "w", "emptyDir": {}}, {"name": "app", "configMap": {"name": "files"}}]
    red.apply(
        config_map(namespace, "files", files_py=FILES),
        pod(namespace, "slow", server, volumes=volumes),
        service(namespace, "slow", selector={"app": "slow"}),
    )
    eventually(lambda: red.get("pod", "slow", "-n", namespace)["status"].get("phase") == "Running")
    address = red.get("service", "slow", "-n", namespace)["spec"]["clusterIP"]
    assert not red.get("pod", "slow", "-n", namespace)["status"]["containerStatuses"][0]["ready"]
    assert refused(address, 8000)
    (scratch_of(red, namespace, "slow") / "ready").touch()
    eventually(lambda: http_get(address, 8000), within_s=3)


def test_a_pod_waits_for_its_config_map(red: Cluster, namespace: str) -> None:
    """It says what it waits for, goes on when that comes, and sees its changes."""
    red.apply(
        pod(
            namespace,
            "waits",
            shell("cat /etc/conf/key; sleep 1000", volumeMounts=[{"name": "conf", "mountPath": "/etc/conf"}]),
            volumes=[{"name": "conf", "configMap": {"name": "conf"}}],
        )
    )
    fields = f"involvedObject.name=waits,involvedObject.namespace={namespace}"
    eventually(
        lambda: any(
            event["reason"] == "FailedMount" and event["message"].endswith('configmap "conf" not found')
            for event in red.get("events", "-n", namespace, "--field-selector", fields)["items"]
        )
    )
    (status,) = red.get("pod", "waits", "-n", namespace)["status"]["containerStatuses"]
    assert status["state"]["waiting"]["reason"] == "ContainerCreating"
    red.apply(config_map(namespace, "conf", key="first\n"))
    red.kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/waits", "--timeout=10s")
    eventually(lambda: red.kubectl("-n", namespace, "logs", "waits") == "first\n")
    red.apply(config_map(namespace, "conf", key="second\n"))
    uid = red.get("pod", "waits", "-n", namespace)["metadata"]["uid"]
    mounted = Path(red.kubeconfig).parent / "pods" / uid / "volumes" / "conf" / "key"
    eventually(lambda: mounted.read_text() == "second\n")


def test_a_killed_container_is_back(red: Cluster, namespace: str) -> None:
    """Within two seconds, with what happened in its status."""
    red.apply(pod(namespace, "victim", shell("echo $$$$; exec sleep 1000")))
    red.kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/victim", "--timeout=10s")
    pid = int(eventually(lambda: red.kubectl("-n", namespace, "logs", "victim")))
    os.kill(pid, signal.SIGKILL)

    def restarted() -> bool:
        (status,) = red.get("pod", "victim", "-n", namespace)["status"]["containerStatuses"]
        return bool(status["restartCount"] == 1 and status["ready"])

    eventually(restarted, within_s=2)
    (status,) = red.get("pod", "victim", "-n", namespace)["status"]["containerStatuses"]
    assert (status["lastState"]["terminated"]["exitCode"], status["lastState"]["terminated"]["signal"]) == (137, 9)
    assert red.kubectl("-n", namespace, "logs", "victim", "--previous") == f"{pid}\n"


def test_a_liveness_probe_restarts(red: Cluster, namespace: str) -> None:
    """A container that fails its liveness probe is ended with grace and started again."""
    probe = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1}
    script = "trap 'echo asked; exit 0' TERM; while true; do sleep 0.02; done"
    red.apply(pod(namespace, "ill", shell(script, livenessProbe=probe)))
    eventually(lambda: red.try_kubectl("-n", namespace, "logs", "ill", "--previous").stdout == "asked\n")
    (status,) = red.get("pod", "ill", "-n", namespace)["status"]["containerStatuses"]
    assert status["restartCount"] >= 1


def test_grace(red: Cluster, namespace: str) -> None:
    """A container that ignores SIGTERM is killed when its grace is over, and the pod is gone."""
    red.apply(pod(namespace, "deaf", shell("trap '' TERM; while true; do sleep 0.1; done")))
    red.kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/deaf", "--timeout=10s")
    began = time.monotonic()
    red.kubectl("-n", namespace, "delete", "pod", "deaf")
    assert 0.9 < time.monotonic() - began < 5


def test_a_shorter_grace(red: Cluster, namespace: str) -> None:
    """Who deletes a pod that is already ending may make its grace shorter, or take it away."""
    deaf = pod(namespace, "deaf", shell("trap '' TERM; while true; do sleep 0.1; done"))
    deaf["spec"]["terminationGracePeriodSeconds"] = 1000
    red.apply(deaf)
    red.kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/deaf", "--timeout=10s")
    red.kubectl("-n", namespace, "delete", "pod", "deaf", "--wait=false")
    uid = red.get("pod", "deaf", "-n", namespace)["metadata"]["uid"]
    red.kubectl("-n", namespace, "delete", "pod", "deaf", "--grace-period=1", "--timeout=5s")
    folder = Path(red.kubeconfig).parent / "pods" / uid
    eventually(lambda: not processes_of(folder) and not folder.exists())


def test_force_delete(red: Cluster, namespace: str) -> None:
    """A pod that is deleted by force leaves no process either."""
    red.apply(pod(namespace, "deaf", shell("trap '' TERM; while true; do sleep 0.1; done")))
    red.kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/deaf", "--timeout=10s")
    folder = Path(red.kubeconfig).parent / "pods" / red.get("pod", "deaf", "-n", namespace)["metadata"]["uid"]
    assert processes_of(folder)
    red.kubectl("-n", namespace, "delete", "pod", "deaf", "--force", "--grace-period=0")
    eventually(lambda: not processes_of(folder) and not folder.exists())


def test_pre_stop(red: Cluster, namespace: str) -> None:
    """The hook runs before SIGTERM is sent."""
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo hooked > /w/order"]}}}
    script = "echo begun; trap 'cat /w/order; exit 0' TERM; while true; do sleep 0.02; done"
    polite = pod(
        namespace,
        "polite",
        shell(script, lifecycle=hook, volumeMounts=[SCRATCH]),
        volumes=[{"name": "w", "emptyDir": {}}],
        terminationGracePeriodSeconds=10,
    )
    red.apply(polite)
    red.kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/polite", "--timeout=10s")
    with red.start_kubectl("-n", namespace, "logs", "-f", "polite") as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "begun\n"
        red.kubectl("-n", namespace, "delete", "pod", "polite")
        assert following.communicate(timeout=5)[0] == "hooked\n"


def test_a_pod_is_its_service_account(red: Cluster, namespace: str) -> None:
    """A pod reaches the API server as its own service account, without being told how."""
    red.kubectl("-n", namespace, "create", "serviceaccount", "seller")
    whoami = container("kubectl", "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")
    red.apply(pod(namespace, "asks", whoami, serviceAccountName="seller", restartPolicy="Never"))
    red.kubectl("-n", namespace, "wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/asks", "--timeout=10s")
    assert red.kubectl("-n", namespace, "logs", "asks").strip() == f"system:serviceaccount:{namespace}:seller"


def test_projected_tokens(red: Cluster, namespace: str) -> None:
    """A token is for the audience asked for and bound to the pod, and only the owner can read it."""
    token = {"serviceAccountToken": {"path": "istio-token", "audience": "istio-ca", "expirationSeconds": 600}}
    mount = {"name": "token", "mountPath": "/var/run/secrets/tokens"}
    reads = shell("stat -L -c %a $FILE; cut -d. -f2 $FILE", volumeMounts=[mount])
    reads["env"] = [{"name": "FILE", "value": "/var/run/secrets/tokens/istio-token"}]
    volumes = [{"name": "token", "projected": {"sources": [token]}}]
    red.apply(pod(namespace, "reads", reads, volumes=volumes, restartPolicy="Never"))
    red.kubectl("-n", namespace, "wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/reads", "--timeout=10s")
    mode, payload = red.kubectl("-n", namespace, "logs", "reads").split()
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    assert (mode, claims["aud"], claims["exp"] - claims["iat"]) == ("400", ["istio-ca"], 600)
    uid = red.get("pod", "reads", "-n", namespace)["metadata"]["uid"]
    assert claims["kubernetes.io"]["pod"] == {"name": "reads", "uid": uid}


def test_slices_of_others(red: Cluster, namespace: str) -> None:
    """A Service without selector leads where anybody's slices say."""
    red.apply(*web(namespace))
    red.kubectl("-n", namespace, "rollout", "status", "deploy/web", "--timeout=15s")
    (item,) = red.get("pods", "-n", namespace)["items"]
    red.apply(
        service(namespace, "away"),
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "away-x",
                "namespace": namespace,
                "labels": {"kubernetes.io/service-name": "away", "endpointslice.kubernetes.io/managed-by": "test"},
            },
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": [{"addresses": [item["status"]["podIP"]], "conditions": {"ready": True}}],
        },
    )
    address = red.get("service", "away", "-n", namespace)["spec"]["clusterIP"]
    eventually(lambda: http_get(address, 8000) == item["metadata"]["name"])
    red.kubectl("-n", namespace, "delete", "service", "away")
    eventually(lambda: refused(address, 8000))


NAME_SERVER = """
import os, socket, dns.message, dns.rrset
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind((os.environ["POD_IP"], 8080))
while True:
    data, address = sock.recvfrom(4096)
    query = dns.message.from_wire(data)
    response = dns.message.make_response(query)
    response.answer.append(dns.rrset.from_text(query.question[0].name, 5, "IN", "A", "127.99.0.1"))
    sock.sendto(response.to_wire(), address)
"""


def test_stub_zone(red: Cluster, namespace: str) -> None:
    """A zone that kube-dns' ConfigMap gives to a Service is answered by that Service's pods."""
    server = container("python3", "/app/names.py", volumeMounts=[{"name": "app", "mountPath": "/app"}])
    udp = service(namespace, "names", selector={"app": "names"})
    udp["spec"]["ports"] = [{"name": "dns", "port": 53, "targetPort": 8080, "protocol": "UDP"}]
    stubs = f'{{"svc.green-imports.local": ["names.{namespace}.svc.cluster.local"]}}'
    red.apply(
        config_map(namespace, "names", names_py=NAME_SERVER),
        pod(namespace, "names", server, volumes=[{"name": "app", "configMap": {"name": "names"}}]),
        udp,
        config_map("kube-system", "kube-dns", stubDomains=stubs),
    )
    eventually(lambda: red.ask("ratings.bookinfo.svc.green-imports.local") == ("NOERROR", ["127.99.0.1"]))
    red.kubectl("-n", "kube-system", "delete", "configmap", "kube-dns")
    eventually(lambda: red.ask("ratings.bookinfo.svc.green-imports.local") == ("NXDOMAIN", []))


def test_a_rollout_is_undone(red: Cluster, namespace: str) -> None:
    """``rollout history`` tells the revisions, and ``undo`` goes back to the one before, or to one that is named."""
    red.apply(*web(namespace))
    for value in ("1", "2"):
        red.kubectl("-n", namespace, "set", "env", "deploy/web", f"STEP={value}")
        red.kubectl("-n", namespace, "rollout", "status", "deploy/web", "--timeout=15s")
    history = red.kubectl("-n", namespace, "rollout", "history", "deploy/web")
    assert [line.split()[0] for line in history.splitlines()[1:] if line] == ["REVISION", "1", "2", "3"]
    assert "STEP" in red.kubectl("-n", namespace, "rollout", "history", "deploy/web", "--revision=2")
    for undo, step in (((), "1"), (("--to-revision=3",), "2")):
        red.kubectl("-n", namespace, "rollout", "undo", "deploy/web", *undo)
        red.kubectl("-n", namespace, "rollout", "status", "deploy/web", "--timeout=15s")
        (container,) = red.get("deploy", "web", "-n", namespace)["spec"]["template"]["spec"]["containers"]
        assert {"name": "STEP", "value": step} in container["env"]


@pytest.mark.parametrize("cascade", ["background", "foreground"])
def test_deletion_with_dependents(red: Cluster, namespace: str, cascade: str) -> None:
    """What a deleted object owned goes with it."""
    red.apply(*web(namespace))
    red.kubectl("-n", namespace, "rollout", "status", "deploy/web", "--timeout=15s")
    red.kubectl("-n", namespace, "delete", "deploy", "web", f"--cascade={cascade}", "--timeout=10s")
    left = red.get("replicasets,pods", "-n", namespace)["items"]
    assert left == [] or cascade == "background", "in the foreground, dependents go before their owner"
    eventually(lambda: red.get("replicasets,pods", "-n", namespace)["items"] == [])


def test_deletion_that_orphans(red: Cluster, namespace: str) -> None:
    """What was owned stays as it was, belongs to nobody, and to the next owner that would have made it so."""
    red.apply(*web(namespace))
    red.kubectl("-n", namespace, "rollout", "status", "deploy/web", "--timeout=15s")
    before = red.get("replicasets,pods", "-n", namespace)["items"]
    red.kubectl("-n", namespace, "delete", "deploy", "web", "--cascade=orphan", "--timeout=10s")
    [replica_set] = red.get("replicasets", "-n", namespace)["items"]
    assert "ownerReferences" not in replica_set["metadata"]
    red.apply(*web(namespace))
    red.kubectl("-n", namespace, "rollout", "status", "deploy/web", "--timeout=15s")
    after = red.get("replicasets,pods", "-n", namespace)["items"]
    assert [one["metadata"]["uid"] for one in after] == [one["metadata"]["uid"] for one in before]


def test_a_namespace_goes_with_all_it_holds(red: Cluster) -> None:
    """Nothing of a deleted namespace is left, and its pods' addresses are silent."""
    name = f"n{next(NUMBERS)}"
    red.kubectl("create", "namespace", name)
    red.apply(*web(name))
    red.kubectl("-n", name, "rollout", "status", "deploy/web", "--timeout=15s")
    (item,) = red.get("pods", "-n", name)["items"]
    red.kubectl("delete", "namespace", name, "--timeout=15s")
    assert refused(item["status"]["podIP"], 8080)
    assert red.get("pods", "-n", name)["items"] == []


def test_kill_9_leaves_nothing_and_up_goes_on(machine: Machine) -> None:
    """All that a killed cluster ran is gone within 2 s; started again, it goes on with what is to be restarted."""
    (blue,) = machine.up("blue")
    blue.apply(*web("default", replicas=2))
    blue.kubectl("rollout", "status", "deploy/web", "--timeout=15s")
    before = {item["metadata"]["name"]: item for item in blue.get("pods")["items"]}
    blue.apply(pod("default", "once", shell("exec sleep 1000"), restartPolicy="Never"))
    blue.kubectl("wait", "--for=condition=Ready", "pod/once", "--timeout=10s")
    folder = machine.root / "blue"
    assert len(processes_of(folder)) == 3
    os.kill(blue.pid, signal.SIGKILL)
    eventually(lambda: processes_of(folder) == [], within_s=2)
    (again,) = machine.up("blue")
    assert (again.server, again.kubeconfig) == (blue.server, blue.kubeconfig)
    blue.kubectl("rollout", "status", "deploy/web", "--timeout=15s")

    def running() -> bool:
        items = {item["metadata"]["name"]: item for item in blue.get("pods", "-l", "app=web")["items"]}
        same = {n: i["status"]["podIP"] for n, i in items.items()} == {
            n: i["status"]["podIP"] for n, i in before.items()
        }
        return same and all(i["status"]["containerStatuses"][0]["restartCount"] == 1 for i in items.values())

    eventually(running)
    once = blue.get("pod", "once")["status"]
    assert (once["phase"], once["containerStatuses"][0]["state"]["terminated"]["exitCode"]) == ("Failed", 137)
    address = blue.get("service", "web")["spec"]["clusterIP"]
    eventually(lambda: {http_get(address, 8000) for _ in range(8)} == set(before))
    machine.lab("down", "blue")
    assert processes_of(folder) == []
    machine.lab("delete", "blue")
    assert not folder.exists()
