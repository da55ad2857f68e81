"""What pods are told of themselves and of others: files that follow their sources, and variables."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from tests.lab.machine import eventually, processes_of
from tests.lab.node.live import SCRATCH, Pods, wait_for
from tests.lab.workloads import config_map, container, shell

pytestmark = [pytest.mark.slow, pytest.mark.kubectl]


def secret(namespace: str, name: str, **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "stringData": data,
    }


PROJECTED = {
    "name": "all",
    "projected": {
        "sources": [
            {"configMap": {"name": "conf", "items": [{"key": "a", "path": "sub/a"}]}},
            {"secret": {"name": "password"}},
            {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
            {"serviceAccountToken": {"path": "token", "audience": "shop"}},
            {"configMap": {"name": "absent", "optional": True}},
            {"configMap": {"name": "conf", "optional": True, "items": [{"key": "absent", "path": "x"}]}},
        ]
    },
}


def test_projected_files_follow_their_sources(pods: Pods) -> None:
    """All four sources in one volume; each is updated in place while the container runs on."""
    pods.cluster.apply(config_map(pods.namespace, "conf", a="1"), secret(pods.namespace, "password", p="first"))
    main = shell("exec sleep 1000", volumeMounts=[{"name": "all", "mountPath": "/all"}])
    pods.run("told", main, volumes=[PROJECTED])
    pods.shows("told", "1/1", "READY")
    files = pods.volume("told", "all")
    names = sorted(path.name for path in files.iterdir() if not path.name.startswith(".."))
    assert names == ["labels", "p", "sub", "token"]
    assert ((files / "sub" / "a").read_text(), (files / "p").read_text()) == ("1", "first")
    assert (files / "labels").read_text() == 'app="told"'
    assert (files / "token").read_text().count(".") == 2
    pods.kubectl("label", "pod", "told", "tier=front")
    pods.cluster.apply(config_map(pods.namespace, "conf", a="2"), secret(pods.namespace, "password", p="second"))
    eventually(lambda: (files / "labels").read_text() == 'app="told"\ntier="front"')
    eventually(lambda: ((files / "sub" / "a").read_text(), (files / "p").read_text()) == ("2", "second"))
    assert pods.status("told")["restartCount"] == 0


def test_downward_files(pods: Pods) -> None:
    """Annotations as they change, and resources in units of the divisor."""
    cpu = {"containerName": "c", "resource": "limits.cpu", "divisor": "1m"}
    items = [
        {"path": "note", "fieldRef": {"fieldPath": "metadata.annotations['note']"}},
        {"path": "cpu", "resourceFieldRef": cpu, "mode": 0o400},
    ]
    main = shell("exec sleep 1000", resources={"limits": {"cpu": "0.5"}})
    pods.run("told", main, volumes=[{"name": "down", "downwardAPI": {"items": items}}])
    pods.shows("told", "1/1", "READY")
    files = pods.volume("told", "down")
    assert ((files / "note").read_text(), (files / "cpu").read_text()) == ("", "500")
    assert [stat.S_IMODE((files / name).stat().st_mode) for name in ("note", "cpu")] == [0o600, 0o400]
    pods.kubectl("annotate", "pod", "told", "note=hello")
    eventually(lambda: (files / "note").read_text() == "hello")


PRINTS = "import json, os; print(json.dumps(dict(os.environ)))"


def test_variables(pods: Pods) -> None:
    """Values, references to others before them, fields, resources, single keys, and all keys of maps and secrets."""
    pods.cluster.apply(config_map(pods.namespace, "conf", A="1", B="2"), secret(pods.namespace, "password", P="p"))
    asks = container("python3", "-c", PRINTS, resources={"limits": {"memory": "64Mi"}})
    asks["envFrom"] = [
        {"prefix": "X_", "configMapRef": {"name": "conf"}},
        {"secretRef": {"name": "password"}},
        {"configMapRef": {"name": "absent", "optional": True}},
    ]
    asks["env"] = [
        {"name": "X_B", "value": "own"},
        {"name": "BOTH", "value": "$(X_A) and $(X_B), $$(X_A), $(NONE)"},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "MIB", "valueFrom": {"resourceFieldRef": {"resource": "requests.memory", "divisor": "1Mi"}}},
        {"name": "CPUS", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        {"name": "KEY", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "A"}}},
        {"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "password", "key": "P"}}},
        {"name": "NOT", "valueFrom": {"secretKeyRef": {"name": "password", "key": "Q", "optional": True}}},
    ]
    pods.run("asks", asks, restartPolicy="Never")
    pods.shows("asks", "Completed")
    told = json.loads(pods.kubectl("logs", "asks"))
    expected = {
        "X_A": "1",
        "X_B": "own",
        "P": "p",
        "BOTH": "1 and own, $(X_A), $(NONE)",
        "NODE": "pods-node",
        "MIB": "64",
        "CPUS": str(os.cpu_count()),
        "KEY": "1",
        "WORD": "p",
    }
    assert {name: told.get(name) for name in expected} == expected
    assert "NOT" not in told


def test_a_script_of_a_config_map(pods: Pods) -> None:
    """It is executed where it is mounted if its mode says so."""
    pods.cluster.apply(config_map(pods.namespace, "app", run="#!/bin/sh\necho ran $1\n"))
    runs = container("/app/run", "now", volumeMounts=[{"name": "app", "mountPath": "/app"}])
    volumes = [{"name": "app", "configMap": {"name": "app", "defaultMode": 0o755}}]
    pods.run("runs", runs, volumes=volumes, restartPolicy="Never")
    pods.shows("runs", "Completed")
    assert pods.kubectl("logs", "runs") == "ran now\n"


def test_sub_paths(pods: Pods) -> None:
    """Containers have parts of a volume: directories that are made for them, by name or by variable, and one file."""
    pods.cluster.apply(config_map(pods.namespace, "conf", a="from the map"))
    writes = shell(
        "cat /conf/only > /own/a; echo fixed > /fixed/b",
        volumeMounts=[
            {"name": "w", "mountPath": "/own", "subPathExpr": "pods/$(POD_NAME)"},
            {"name": "w", "mountPath": "/fixed", "subPath": "x/y"},
            {"name": "conf", "mountPath": "/conf/only", "subPath": "a"},
        ],
    )
    unknown = [{**SCRATCH, "subPathExpr": "$(NOBODY)"}]
    asks = {**shell("true", volumeMounts=unknown), "name": "asks"}
    volumes = [{"name": "conf", "configMap": {"name": "conf"}}]
    pods.run("writes", writes, asks, volumes=volumes, restartPolicy="Never")
    eventually(lambda: "terminated" in pods.status("writes").get("state", {}))
    assert (pods.folder("writes") / "pods" / "writes" / "a").read_text() == "from the map"
    assert (pods.folder("writes") / "x" / "y" / "b").read_text() == "fixed\n"
    refused = pods.status("writes", "asks")["state"]["waiting"]
    assert refused["reason"] == "CreateContainerError"
    assert refused["message"] == "Expanding '$(NOBODY)': the container has no variable NOBODY"


def test_sub_paths_that_can_not_be(pods: Pods) -> None:
    """One that leads out of its volume, or through a file, makes no container, and the status says why."""
    first = {**shell("touch /w/file", volumeMounts=[SCRATCH]), "name": "first"}
    out = shell("true", volumeMounts=[{**SCRATCH, "subPathExpr": "../$(POD_NAME)"}])
    through = {**shell("true", volumeMounts=[{**SCRATCH, "subPath": "file/x"}]), "name": "through"}
    pods.run("odd", out, through, initContainers=[first], restartPolicy="Never")
    for name, why in (("c", "expected a relative path without '..'"), ("through", "Not a directory")):
        wait_for("CreateContainerError", lambda name=name: [waits(pods, name)["reason"]])  # type: ignore[misc]  # mypy does not see the default
        assert why in waits(pods, name)["message"]


def waits(pods: Pods, container: str) -> Any:
    """Why a container waits."""
    return pods.status("odd", container).get("state", {}).get("waiting", {"reason": ""})


def test_a_volume_that_its_own_container_has_ruined(pods: Pods) -> None:
    """It is not updated any more, and that is all: the container runs on, and ends when it is told to."""
    pods.cluster.apply(config_map(pods.namespace, "conf", a="1"))
    mount = {"name": "conf", "mountPath": "/conf"}
    # The node may put the directory back between two steps of the container, which then complains and tries again.
    script = "until [ -f /conf ]; do rm -rf /conf; touch /conf; done 2>/dev/null; echo ruined; exec sleep 1000"
    ruins = shell(script, volumeMounts=[mount])
    pods.run("vandal", ruins, volumes=[{"name": "conf", "configMap": {"name": "conf"}}])
    pods.shows("vandal", "1/1", "READY")
    eventually(lambda: pods.kubectl("logs", "vandal") == "ruined\n")
    folder = pods.folder("vandal").parent.parent
    pods.cluster.apply(config_map(pods.namespace, "conf", a="2"))
    said = Path(pods.cluster.kubeconfig).with_name("lab.log")
    eventually(lambda: 'event="volume not updated" pod=vandal' in said.read_text(), within_s=30)
    assert pods.column("vandal") == "Running"
    pods.kubectl("delete", "pod", "vandal", "--timeout=5s")
    eventually(lambda: not processes_of(folder) and not folder.exists())
