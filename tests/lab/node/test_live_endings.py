"""How containers end, and what their status says of it."""

from typing import Any

import pytest
from tests.lab.machine import eventually
from tests.lab.node.live import SCRATCH, Pods
from tests.lab.workloads import config_map, container, shell

pytestmark = [pytest.mark.slow, pytest.mark.kubectl]


def ended(pods: Pods, name: str, container: str = "c") -> Any:
    """The end of a container."""
    return eventually(lambda: pods.status(name, container).get("state", {}).get("terminated"))


def test_how_it_ended(pods: Pods) -> None:
    """Exit codes and reasons; a signal is 128 more than its number; all of a pod's containers are told of."""
    signalled = {**shell("kill -15 $$$$"), "name": "signalled"}
    bad = {**shell("exit 3"), "name": "bad"}
    pods.run("ends", shell("exit 0"), bad, signalled, restartPolicy="Never")
    found = {name: ended(pods, "ends", name) for name in ("c", "bad", "signalled")}
    assert {name: (one["exitCode"], one["reason"]) for name, one in found.items()} == {
        "c": (0, "Completed"),
        "bad": (3, "Error"),
        "signalled": (143, "Error"),
    }
    eventually(lambda: pods.get("ends")["status"]["phase"] == "Failed")
    pods.run("good", shell("exit 0"), restartPolicy="OnFailure")
    pods.shows("good", "Completed")


def test_a_program_that_is_not_there(pods: Pods) -> None:
    """The container can't be started: 128, what is missing, and an Event; with restarts it is tried again."""
    pods.run("once", container("no-such-program"), restartPolicy="Never")
    end = ended(pods, "once")
    assert (end["exitCode"], end["reason"]) == (128, "StartError")
    assert end["message"] == "No such file or directory: no-such-program"
    pods.happened("once", "Warning", "Failed", "Error: No such file or directory: no-such-program")
    pods.run("again", container("no-such-program"))
    pods.shows("again", "CrashLoopBackOff")
    assert pods.status("again")["lastState"]["terminated"]["reason"] == "StartError"


def test_a_container_that_lacks_its_configuration(pods: Pods) -> None:
    """It says what is missing, and starts as soon as that is there."""
    value = {"name": "KEY", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "k"}}}
    asks = shell("echo $KEY; exec sleep 1000")
    asks["env"] = [*asks["env"], value]
    pods.run("asks", asks)
    pods.shows("asks", "CreateContainerConfigError")
    assert pods.status("asks")["state"]["waiting"]["message"] == 'configmap "conf" not found'
    pods.happened("asks", "Warning", "Failed", 'Error: configmap "conf" not found')
    pods.cluster.apply(config_map(pods.namespace, "conf", other="x"))
    eventually(lambda: "couldn't find key k" in pods.status("asks")["state"]["waiting"]["message"])
    pods.cluster.apply(config_map(pods.namespace, "conf", k="found"))
    pods.shows("asks", "Running")
    eventually(lambda: pods.kubectl("logs", "asks") == "found\n")


def test_a_container_without_command(pods: Pods) -> None:
    """Images are not pulled, so it can't be made, and the status says why."""
    pods.run("image", {"name": "c", "image": "nginx"})
    pods.shows("image", "CreateContainerError")
    assert "images are not pulled here" in pods.status("image")["state"]["waiting"]["message"]


def test_back_off(pods: Pods) -> None:
    """What keeps failing waits longer and longer; its last end is told, and an Event says what goes on."""
    pods.run("crashes", shell("exit 4"))
    pods.shows("crashes", "CrashLoopBackOff")
    eventually(lambda: pods.status("crashes")["restartCount"] >= 2)
    uid = pods.get("crashes")["metadata"]["uid"]
    pods.happened("crashes", "Warning", "BackOff", f"Back-off restarting failed container c in pod crashes({uid})")
    status = eventually(lambda: "waiting" in (now := pods.status("crashes"))["state"] and now)
    assert status["state"]["waiting"]["message"].startswith("back-off ")
    assert (status["lastState"]["terminated"]["exitCode"], status["ready"]) == (4, False)
    assert pods.get("crashes")["status"]["phase"] == "Running"


def test_last_words(pods: Pods) -> None:
    """A container may write to its terminationMessagePath, each run anew; else the log may stand for it."""
    says = shell("test -e $WORDS && echo because > $WORDS; exit 1")
    says["env"] = [{"name": "WORDS", "value": "/dev/termination-log"}]
    elsewhere = shell("echo all is well > /own/words", terminationMessagePath="/own/words")
    logs = shell("echo out; echo err >&2; exit 1", terminationMessagePolicy="FallbackToLogsOnError")
    silent = shell("echo out", terminationMessagePolicy="FallbackToLogsOnError")
    named = {"c": says, "elsewhere": elsewhere, "logs": logs, "silent": silent}
    pods.run("speaks", *({**one, "name": name} for name, one in named.items()), restartPolicy="Never")
    found = {name: ended(pods, "speaks", name).get("message") for name in named}
    assert sorted(found.pop("logs").split()) == ["err", "out"]
    assert found == {"c": "because\n", "elsewhere": "all is well\n", "silent": None}


def test_last_words_that_are_no_file(pods: Pods) -> None:
    """Whatever a container makes of the path, the node reads a plain file only, and not for ever."""
    pipe = shell("rm $WORDS; mkfifo $WORDS")
    link = shell("rm $WORDS; ln -s /etc/passwd $WORDS")
    long = shell("head -c 100000 /dev/zero | tr '\\0' x > $WORDS")
    named = {"c": pipe, "link": link, "long": long}
    words = [{"name": "WORDS", "value": "/dev/termination-log"}]
    pods.run("odd", *({**one, "name": name, "env": words} for name, one in named.items()), restartPolicy="Never")
    found = {name: ended(pods, "odd", name).get("message") for name in named}
    assert found == {"c": None, "link": None, "long": "x" * 4096}
    folder = shell("test -d /w/seen && exit 0; rm $WORDS; mkdir -p $WORDS/in /w/seen; exit 1", volumeMounts=[SCRATCH])
    pods.run("folder", {**folder, "env": words}, restartPolicy="OnFailure")
    pods.shows("folder", "Completed")


def test_restart_on_failure(pods: Pods) -> None:
    """With OnFailure a container runs until it succeeds; what it was before is its last state."""
    pods.run("tries", shell("test -e /w/good", volumeMounts=[SCRATCH]), restartPolicy="OnFailure")
    pods.shows("tries", "CrashLoopBackOff")
    (pods.folder("tries") / "good").touch()
    pods.shows("tries", "Completed")
    status = pods.status("tries")
    assert (status["state"]["terminated"]["exitCode"], status["lastState"]["terminated"]["exitCode"]) == (0, 1)
