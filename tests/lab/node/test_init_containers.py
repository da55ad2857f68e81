"""Init containers and sidecars, in pods of a real cluster."""

from typing import Any

import pytest
from tests.lab.machine import eventually
from tests.lab.node.live import SCRATCH, Pods
from tests.lab.workloads import shell

pytestmark = [pytest.mark.slow, pytest.mark.kubectl]

SLEEPS = shell("exec sleep 1000")


def init(name: str, script: str, **fields: Any) -> dict[str, Any]:
    return {**shell(script, volumeMounts=[SCRATCH], **fields), "name": name}


def test_one_after_the_other(pods: Pods) -> None:
    """Each begins when the one before has succeeded, the main container after all, and kubectl shows how far it is."""
    wait = "echo {0} >> /w/order; until [ -e /w/{0} ]; do sleep 0.02; done"
    main = shell("cat /w/order; exec sleep 1000", volumeMounts=[SCRATCH])
    pods.run("steps", main, initContainers=[init("one", wait.format("one")), init("two", wait.format("two"))])
    eventually(lambda: "running" in pods.status("steps", "one").get("state", {}))
    assert pods.column("steps") == "Init:0/2"
    (pods.folder("steps") / "one").touch()
    eventually(lambda: "running" in pods.status("steps", "two")["state"])
    assert pods.column("steps") == "Init:1/2"
    (pods.folder("steps") / "two").touch()
    pods.shows("steps", "Running")
    eventually(lambda: pods.kubectl("logs", "steps", "-c", "c") == "one\ntwo\n")
    one = pods.status("steps", "one")
    assert (one["ready"], one["state"]["terminated"]["reason"]) == (True, "Completed")


def test_one_that_fails_is_tried_again(pods: Pods) -> None:
    """With back-off, until it succeeds; only then the pod goes on."""
    pods.run("tries", SLEEPS, initContainers=[init("one", "echo no; test -e /w/good")])
    pods.shows("tries", "Init:CrashLoopBackOff")
    one = pods.status("tries", "one")
    assert (one["restartCount"] > 0, one["lastState"]["terminated"]["exitCode"]) == (True, 1)
    assert pods.column("tries", "RESTARTS").split()[0] != "0"
    (pods.folder("tries") / "good").touch()
    pods.shows("tries", "Running")
    assert pods.column("tries", "RESTARTS") == "0"


def test_one_that_fails_for_good(pods: Pods) -> None:
    """Without restarts its failure is the pod's, and the main container never runs."""
    pods.run("fails", SLEEPS, initContainers=[init("one", "exit 3"), init("two", "exit 0")], restartPolicy="Never")
    pods.shows("fails", "Init:Error")
    assert pods.get("fails")["status"]["phase"] == "Failed"
    assert pods.status("fails", "one")["state"]["terminated"]["exitCode"] == 3
    assert "waiting" in pods.status("fails", "two")["state"]
    assert pods.status("fails")["state"]["waiting"]["reason"] == "PodInitializing"


def test_a_sidecar(pods: Pods) -> None:
    """It starts before the next container, runs beside the main one, is asked to end after it, and is no failure."""
    script = "echo began >> /w/order; trap 'echo ended >> /w/order; exit 7' TERM; while true; do sleep 0.02; done"
    started = {"exec": {"command": ["grep", "-q", "began", "/w/order"]}, "periodSeconds": 1}
    sidecar = init("beside", script, restartPolicy="Always", startupProbe=started)
    main = shell("until [ -e /w/go ]; do sleep 0.02; done; echo main >> /w/order", volumeMounts=[SCRATCH])
    pods.run("pair", main, initContainers=[sidecar, init("next", "echo next >> /w/order")], restartPolicy="Never")
    pods.shows("pair", "2/2", "READY")
    (pods.folder("pair") / "go").touch()
    eventually(lambda: pods.get("pair")["status"]["phase"] == "Succeeded")
    assert (pods.folder("pair") / "order").read_text().split() == ["began", "next", "main", "ended"]
    assert pods.status("pair", "beside")["state"]["terminated"]["exitCode"] == 7


def test_sidecars_end_last(pods: Pods) -> None:
    """When a pod is deleted its sidecars get SIGTERM after the main container has ended, all within one grace."""
    script = "trap '{0}' TERM; while true; do sleep 0.02; done"
    sidecar = init("beside", script.format("cat /w/order; echo sidecar; exit 0"), restartPolicy="Always")
    main = shell(script.format("sleep 0.3; echo main > /w/order; exit 0"), volumeMounts=[SCRATCH])
    pods.run("pair", main, initContainers=[sidecar], terminationGracePeriodSeconds=20)
    pods.shows("pair", "2/2", "READY")
    with pods.cluster.start_kubectl("-n", pods.namespace, "logs", "-f", "pair", "-c", "beside") as following:
        pods.kubectl("delete", "pod", "pair", "--timeout=10s")
        assert following.communicate(timeout=5)[0] == "main\nsidecar\n"
