"""Links carried out against an API server: what is read, what is written, and what is refused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.doctor.linking.meshes import root
from tests.kube.lab import Lab, lab

from isthmus.api.crds import crds
from isthmus.doctor.contexts import ContextError
from isthmus.doctor.linking import Linker, LinkError, NotDone, Options, Verb, connect_to, meshes_asked
from isthmus.kube.errors import KubeError

pytestmark = pytest.mark.slow


def mesh(name: str, namespace: str = "") -> str:
    """A mesh with its root, as an operator and a control plane leave it."""
    where = namespace or f"{name}-system"
    objects: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": where}},
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "istio-ca-root-cert", "namespace": where},
            "data": {"root-cert.pem": root(f"{name}.local")},
        },
        {
            "apiVersion": "maistra.io/v2",
            "kind": "ServiceMeshControlPlane",
            "metadata": {"name": name, "namespace": where},
            "spec": {"security": {"trust": {"domain": f"{name}.local"}}, "techPreview": {"kept": True}},
        },
    ]
    return yaml.safe_dump_all(objects)


GIVEN = Options(addresses={("red", ""): ("red.example.com",), ("green", ""): ("green.example.com",)})


@asynccontextmanager
async def two_meshes(folder: Path) -> AsyncIterator[tuple[Lab, Linker]]:
    """A cluster with two meshes, and both connected."""
    async with lab(folder) as cluster:
        await cluster.create(yaml.safe_dump_all(crds()))
        await cluster.create("---\n".join((mesh("red"), mesh("green"))))
        async with connect_to(meshes_asked(["red", "green"], []), cluster.kubeconfig) as linker:
            yield cluster, linker


async def test_what_is_carried_out_is_not_planned_again_and_can_be_undone(tmp_path: Path) -> None:
    """An API server gives back what was applied; after undoing it the control plane is as it was."""
    async with two_meshes(tmp_path) as (cluster, linker):
        _, before = await cluster.kubectl("get", "smcp,smp,cm", "-A", "-o", "jsonpath={.items[*].spec}")
        await linker.carry_out(await linker.plan_link(GIVEN))
        assert (await linker.plan_link(GIVEN)).is_done
        _, kept = await cluster.kubectl("get", "smcp", "red", "-n", "red-system", "-o", "jsonpath={.spec.techPreview}")
        assert kept == '{"kept":true}'
        undo = await linker.plan_unlink()
        assert {step.verb for step in undo.steps} == {Verb.DELETE, Verb.CHANGE}
        await linker.carry_out(undo)
        assert not (await linker.plan_unlink()).steps
        _, after = await cluster.kubectl("get", "smcp,smp,cm", "-A", "-o", "jsonpath={.items[*].spec}")
        assert after == before


async def test_a_mesh_that_is_gone_by_then_is_not_made(tmp_path: Path) -> None:
    """A plan is for the control plane that was looked at, and fails without it."""
    async with two_meshes(tmp_path) as (cluster, linker):
        plan = await linker.plan_link(GIVEN)
        await cluster.kubectl("delete", "smcp", "red", "-n", "red-system")
        with pytest.raises(KubeError, match="ServiceMeshControlPlane red-system/red"):
            await linker.carry_out(plan)
        _, there = await cluster.kubectl("get", "smcp", "-A", "-o", "name")
        assert there.split() == ["servicemeshcontrolplane.maistra.io/green"]


async def test_what_someone_makes_in_between_is_not_overwritten(tmp_path: Path) -> None:
    """An object that the plan wanted to create, and that is another's by now, is a conflict."""
    async with two_meshes(tmp_path) as (cluster, linker):
        plan = await linker.plan_link(GIVEN)
        await cluster.kubectl(
            *("create", "configmap", "green-ca-root-cert", "-n", "red-system", "--from-literal=root-cert.pem=theirs")
        )
        with pytest.raises(KubeError, match="onflict"):
            await linker.carry_out(plan)


async def test_a_link_that_does_not_come_up_says_what_it_waits_for(tmp_path: Path) -> None:
    """Without an operator there is never an address, and without a control plane no peer is ever ready."""
    async with two_meshes(tmp_path) as (_, linker):
        for options, says in ((Options(), "does not exist yet"), (GIVEN, "not connected yet")):
            plan = await linker.plan_link(options)
            with pytest.raises(NotDone, match=says) as error:
                await linker.link(plan, options, timeout_s=0.5, progress=lambda _: None)
            assert len(error.value.waiting) == 2


async def problems(cluster: Lab, *meshes: str) -> tuple[str, ...]:
    """Why these cannot be linked."""
    async with connect_to(meshes_asked(meshes, []), cluster.kubeconfig) as linker:
        with pytest.raises(LinkError) as error:
            await linker.plan_link(Options())
    return error.value.problems


async def test_meshes_that_cannot_be_found_are_told_with_those_that_there_are(tmp_path: Path) -> None:
    """No definitions, no such mesh, several of one name; a namespace says which is meant."""
    async with lab(tmp_path) as cluster:
        assert "apply the output of isthmus crds" in (await problems(cluster, "red", "green"))[0]
        await cluster.create(yaml.safe_dump_all(crds()))
        assert await problems(cluster, "red", "x/green") == (
            "no mesh red in the current context: there are none",
            "no mesh green in the current context: there are none",
        )
        await cluster.create("---\n".join((mesh("red"), mesh("red", "other"), mesh("green"))))
        assert await problems(cluster, "red", "blue") == (
            "2 meshes red in the current context: name one of other/red, red-system/red",
            "no mesh blue in the current context: there are green-system/green, other/red, red-system/red",
        )
        async with connect_to(meshes_asked(["other/red", "green"], []), cluster.kubeconfig) as linker:
            assert (await linker.plan_link(Options())).meshes[0].namespace == "other"


async def test_one_mesh_twice_and_unknown_contexts_are_errors(tmp_path: Path) -> None:
    """Before anything is asked of a cluster."""
    async with lab(tmp_path) as cluster:
        with pytest.raises(LinkError, match="more than one mesh is called red"):
            async with connect_to(meshes_asked(["a/red", "b/red"], []), cluster.kubeconfig):
                raise AssertionError("connected")
        with pytest.raises(ContextError, match="No context 'nowhere'"):
            async with connect_to(meshes_asked(["red", "green"], ["nowhere"]), cluster.kubeconfig):
                raise AssertionError("connected")


async def test_a_cluster_that_does_not_answer_is_an_error(tmp_path: Path) -> None:
    """The message names the context."""
    async with lab(tmp_path) as cluster:
        kubeconfig = cluster.kubeconfig
        text = await asyncio.to_thread(kubeconfig.read_text)
    await asyncio.to_thread(kubeconfig.write_text, text)
    async with connect_to(meshes_asked(["red", "green"], []), kubeconfig) as linker:
        with pytest.raises(KubeError, match="in the current context"):
            await linker.plan_link(Options())
