"""Probes of every kind, in pods of a real cluster: what the kubelet's documentation says of them."""

from typing import Any

import pytest
from tests.lab.machine import eventually
from tests.lab.node.live import SCRATCH, Pods
from tests.lab.workloads import config_map, container, shell

pytestmark = [pytest.mark.slow, pytest.mark.kubectl]


def there(name: str, **fields: Any) -> dict[str, Any]:
    """A probe that succeeds when a file is there."""
    return {"exec": {"command": ["sh", "-c", f"test -e /w/{name} || {{ echo no {name}; false; }}"]}, **fields}


def sleeps(**probes: Any) -> dict[str, Any]:
    return shell("exec sleep 1000", volumeMounts=[SCRATCH], **probes)


def test_nothing_else_is_asked_before_the_start(pods: Pods) -> None:
    """Until the startup probe succeeds a container is not ready, and its liveness is not asked."""
    startup = there("started", periodSeconds=1, failureThreshold=1000)
    alive = {"exec": {"command": ["sh", "-c", "echo asked >> /w/liveness"]}, "periodSeconds": 1}
    pods.run("slow", sleeps(startupProbe=startup, livenessProbe=alive))
    pods.happened("slow", "Warning", "Unhealthy", "Startup probe failed: exit code 1: no started")
    status = pods.status("slow")
    assert (status["started"], status["ready"], "running" in status["state"]) == (False, False, True)
    assert not (pods.folder("slow") / "liveness").exists()
    (pods.folder("slow") / "started").touch()
    pods.shows("slow", "1/1", "READY")
    eventually((pods.folder("slow") / "liveness").exists)


def test_a_container_that_does_not_start(pods: Pods) -> None:
    """It is started again when its startup probe has failed too often, with the reason in an Event."""
    pods.run("never", sleeps(startupProbe=there("started", periodSeconds=1, failureThreshold=1)))
    eventually(lambda: pods.status("never").get("restartCount"))
    pods.happened("never", "Normal", "Killing", "Container c failed startup probe, will be restarted")


def test_a_container_that_does_not_live(pods: Pods) -> None:
    """It is restarted after ``failureThreshold`` failures, within the probe's own grace, and Events say why."""
    alive = there("alive", periodSeconds=1, failureThreshold=1, terminationGracePeriodSeconds=1)
    deaf = "touch /w/alive; trap '' TERM; while true; do sleep 0.05; done"
    ill = shell(deaf, volumeMounts=[SCRATCH], livenessProbe=alive)
    pods.run("ill", ill, terminationGracePeriodSeconds=1000)
    pods.shows("ill", "1/1", "READY")
    eventually((alive_file := pods.folder("ill") / "alive").exists)
    alive_file.unlink()
    eventually(lambda: pods.status("ill")["restartCount"] == 1)
    pods.happened("ill", "Warning", "Unhealthy", "Liveness probe failed: exit code 1: no alive")
    pods.happened("ill", "Normal", "Killing", "Container c failed liveness probe, will be restarted")
    assert pods.status("ill")["lastState"]["terminated"]["exitCode"] == 137
    pods.kubectl("delete", "pod", "ill", "--force", "--grace-period=0")


def test_readiness_comes_and_goes(pods: Pods) -> None:
    """A container that was ready and fails is not ready, and is left running."""
    pods.run("moody", sleeps(readinessProbe=there("ready", periodSeconds=1, failureThreshold=1)))
    pods.happened("moody", "Warning", "Unhealthy", "Readiness probe failed: exit code 1: no ready")
    for wanted in ("1/1", "0/1"):
        ready = pods.folder("moody") / "ready"
        ready.touch() if wanted == "1/1" else ready.unlink()
        pods.shows("moody", wanted, "READY")
    status = pods.status("moody")
    assert (status["restartCount"], "running" in status["state"]) == (0, True)


HEALTH = r"""
import os, concurrent.futures, grpc
def check(request, context):
    if request != b"\x0a\x04shop":
        context.abort(grpc.StatusCode.NOT_FOUND, f"unknown service {request!r}")
    return b"\x08\x01" if os.path.exists(os.environ["READY"]) else b"\x08\x02"
handler = grpc.method_handlers_generic_handler("grpc.health.v1.Health", {
    "Check": grpc.unary_unary_rpc_method_handler(check)})
server = grpc.server(concurrent.futures.ThreadPoolExecutor(1), handlers=[handler])
server.add_insecure_port(os.environ["POD_IP"] + ":9000")
server.start()
server.wait_for_termination()
"""


def test_grpc(pods: Pods) -> None:
    """A gRPC probe asks the health service about the named service, and believes SERVING only."""
    pods.cluster.apply(config_map(pods.namespace, "health", health_py=HEALTH))
    mounts = [SCRATCH, {"name": "app", "mountPath": "/app"}]
    probe = {"grpc": {"port": 9000, "service": "shop"}, "periodSeconds": 1}
    server = container("python3", "/app/health.py", volumeMounts=mounts, readinessProbe=probe)
    server["env"] = [*server["env"], {"name": "READY", "value": "/w/ready"}]
    other = {**probe, "grpc": {"port": 9000}, "failureThreshold": 1000}
    asks = {**shell("exec sleep 1000", readinessProbe=other), "name": "other"}
    pods.run("serves", server, asks, volumes=[{"name": "app", "configMap": {"name": "health"}}])
    unready = 'Readiness probe failed: service unhealthy (responded with "NOT_SERVING")'
    pods.happened("serves", "Warning", "Unhealthy", unready)
    unknown = "Readiness probe failed: error: health rpc failed: NOT_FOUND: unknown service b''"
    pods.happened("serves", "Warning", "Unhealthy", unknown)
    (pods.folder("serves") / "ready").touch()
    pods.shows("serves", "1/2", "READY")
