"""kubectl, unmodified: what is asked for less often, and must be as it is against any server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.lab.apiserver.clients import KUBECTL, Kubectl
from tests.lab.apiserver.test_kubectl import CRONTAB, DEFINITION

pytestmark = [pytest.mark.kubectl, pytest.mark.slow]

LIST = """
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: la}, data: {a: "1"}}
- {apiVersion: v1, kind: Secret, metadata: {name: lb}, stringData: {b: "2"}}
"""


async def test_a_list_is_its_items(kubectl: Kubectl) -> None:
    """create, apply, server-side apply and delete take a List; an unknown field of an item is refused."""
    assert await kubectl("create", "-f", "-", stdin=LIST) == "configmap/la created\nsecret/lb created\n"
    assert "configmap/la configured" in await kubectl("apply", "-f", "-", stdin=LIST)
    assert "configmap/la unchanged" in await kubectl("apply", "-f", "-", stdin=LIST)
    assert "la serverside-applied" in await kubectl("apply", "--server-side", "-f", "-", stdin=LIST)
    refused = await kubectl.run("apply", "-f", "-", stdin=LIST.replace("data: {a", "datum: {a"))
    assert 'unknown field "datum"' in refused.err
    await kubectl("delete", "-f", "-", stdin=LIST)


async def test_the_watches_of_a_kind_end_with_its_definition(kubectl: Kubectl) -> None:
    """Who watches a custom kind is told of each deletion, and then that there is nothing to watch any more."""
    await kubectl("create", "-f", "-", stdin=DEFINITION)
    await kubectl("create", "-f", "-", stdin=CRONTAB)
    path = "/apis/stable.example.com/v1/crontabs?watch=true&allowWatchBookmarks=true"
    watching = await kubectl.start("get", "--raw", path)
    assert watching.stdout is not None
    assert b"ADDED" in await watching.stdout.readline()
    await kubectl("delete", "crd", "crontabs.stable.example.com", "--timeout=10s")
    async with asyncio.timeout(5):
        rest, _ = await watching.communicate()
    assert b'"DELETED"' in rest
    assert watching.returncode == 0


async def test_edit_by_a_script(kubectl: Kubectl, tmp_path: Path) -> None:
    """``edit`` sends what the editor made of the object, and nothing if it left it alone."""
    await kubectl("create", "configmap", "a", "--from-literal=k=before")
    editor = "sed -i s/before/after/"
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "KUBECONFIG": str(kubectl.kubeconfig)}
    for expected in ("configmap/a edited", "no changes made"):
        process = await asyncio.create_subprocess_exec(
            str(KUBECTL),
            *("edit", "configmap", "a"),
            env={**environment, "KUBE_EDITOR": editor},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert process.stdout is not None
        said = await process.stdout.read()
        assert await process.wait() == 0, said
        assert expected in said.decode()
    assert (await kubectl.json("get", "cm", "a"))["data"] == {"k": "after"}


async def test_diff_shows_what_apply_would_change(kubectl: Kubectl) -> None:
    """``diff`` ends with 1 and the lines that differ, with 0 and nothing if there is no difference."""
    await kubectl("apply", "-f", "-", stdin=LIST)
    differs = await kubectl.run("diff", "-f", "-", stdin=LIST.replace('"1"', '"9"'))
    assert (differs.code, '+  a: "9"' in differs.out) == (1, True)
    assert (await kubectl.run("diff", "--server-side", "-f", "-", stdin=LIST)).out.count('"1"') == 0
    assert await kubectl("diff", "-f", "-", stdin=LIST) == ""


async def test_diff_of_a_workload_shows_nothing_else(kubectl: Kubectl) -> None:
    """A change of replicas is one line less, one line more, and the generation."""
    deployment = await kubectl("create", "deployment", "web", "--image=a", "--dry-run=client", "-o", "yaml")
    await kubectl("apply", "-f", "-", stdin=deployment)
    differs = await kubectl.run("diff", "-f", "-", stdin=deployment.replace("replicas: 1", "replicas: 3"))
    changed = [line.split() for line in differs.out.splitlines() if line[:2] in ("+ ", "- ")]
    assert changed[:2] == [["-", "generation:", "1"], ["+", "generation:", "2"]]
    assert changed[2:] == [["-", "replicas:", "1"], ["+", "replicas:", "3"]]


async def test_what_may_i(kubectl: Kubectl) -> None:
    """``auth can-i --list`` shows the rules of whoever asks."""
    everything = (await kubectl("auth", "can-i", "--list")).splitlines()
    assert everything[1].split() == ["*.*", "[]", "[]", "[*]"]
    await kubectl("create", "serviceaccount", "bob")
    await kubectl("create", "rolebinding", "v", "--clusterrole=view", "--serviceaccount=default:bob")
    who = "--as=system:serviceaccount:default:bob"
    lines = (await kubectl("auth", "can-i", "--list", who)).splitlines()
    assert ["pods", "[]", "[]", "[get", "list", "watch]"] in [line.split() for line in lines]
    assert (await kubectl.run("auth", "can-i", "create", "pods", who)).out == "no\n"


async def test_scale_only_from_what_is_expected(kubectl: Kubectl) -> None:
    """``scale --current-replicas`` is refused when there are others."""
    await kubectl("create", "deployment", "web", "--image=a", "--replicas=2")
    await kubectl("scale", "deploy/web", "--current-replicas=2", "--replicas=3")
    refused = await kubectl.run("scale", "deploy/web", "--current-replicas=2", "--replicas=4")
    assert refused.err == "error: Expected replicas to be 2, was 3\n"


RULES = """
            x-kubernetes-validations:
            - {rule: "!has(self.cronSpec) || self.cronSpec == oldSelf.cronSpec", message: the times are immutable}
            - {rule: "self.replicas < 5 || self.cronSpec.startsWith('*')"}
"""


async def test_rules_in_cel(kubectl: Kubectl) -> None:
    """A definition's rules hold for create, update and apply; one that can't be compiled is refused with it."""
    place = "            description: What to run, and when.\n"
    definition = DEFINITION.replace(place, place + RULES.lstrip("\n"))
    bad = await kubectl.run("create", "-f", "-", stdin=definition.replace("startsWith('*')", "startsWith("))
    assert "x-kubernetes-validations[1].rule: Invalid value" in bad.err
    assert "compilation failed: ERROR: <input>:1:" in bad.err
    bad = await kubectl.run("create", "-f", "-", stdin=definition.replace("self.replicas <", "self.replica <"))
    assert "x-kubernetes-validations[1].rule: Invalid value" in bad.err
    assert "undefined field 'replica'" in bad.err
    await kubectl("create", "-f", "-", stdin=definition)
    await kubectl("create", "-f", "-", stdin=CRONTAB)
    refused = await kubectl.run("patch", "ct", "my", "--type=merge", "-p", '{"spec":{"cronSpec":"* 6"}}')
    why = 'spec: Invalid value: "object": the times are immutable'
    assert refused.err == f'The CronTab "my" is invalid: {why}\n'
    other = CRONTAB.replace('"* 5"}', '"1 5", replicas: 7}').replace("name: my", "name: other")
    refused = await kubectl.run("apply", "--server-side", "-f", "-", stdin=other)
    assert "failed rule: self.replicas < 5 || self.cronSpec.startsWith('*')" in refused.err
