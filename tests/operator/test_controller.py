"""The operator against the lab's API server, with no more rights than its manifest gives it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.rbac_authorization_v1 import ClusterRole
from lightkube.types import PatchType
from tests.kube.lab import Lab, lab
from tests.operator.meshes import DOCUMENTED
from tests.operator.test_deploy import MANIFEST
from tests.waiting import until

from isthmus.api.crds import crds
from isthmus.kube import Client, connect
from isthmus.operator.controller import Operator
from isthmus.operator.mesh import OPERATOR

pytestmark = [pytest.mark.slow, pytest.mark.kubectl]

NAMESPACE = "red-mesh-system"
SOURCE = DOCUMENTED.replace(", uid: 3f0c9c3e-7b8a-4a44-9a55-0d6e2f1f8a11, generation: 1", "")
DEPLOYMENTS = {"istiod-red-mesh", "egress-green-mesh", "ingress-green-mesh"}


@asynccontextmanager
async def cluster_with_operator_installed(folder: Path) -> AsyncIterator[tuple[Lab, Path]]:
    """Run an API server with the definitions and the manifest; give it and the operator's own kubeconfig."""
    async with lab(folder) as cluster:
        await cluster.create(yaml.safe_dump_all(crds()))
        await cluster.create(MANIFEST.read_text())
        await cluster.create(f"{{apiVersion: v1, kind: Namespace, metadata: {{name: {NAMESPACE}}}}}")
        _, token = await cluster.kubectl("create", "token", OPERATOR, "-n", OPERATOR)
        config = yaml.safe_load(cluster.kubeconfig.read_text())
        config["users"][0]["user"] = {"token": token.strip()}
        kubeconfig = folder / "operator-kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(config))
        yield cluster, kubeconfig


@asynccontextmanager
async def operating(kubeconfig: Path) -> AsyncIterator[None]:
    """Run the operator for the block."""
    started = asyncio.get_running_loop().create_future()
    async with connect(field_manager=OPERATOR, kubeconfig=kubeconfig) as client, asyncio.TaskGroup() as group:
        task = group.create_task(Operator(client, image="isthmus", identity="test").run(started))
        await asyncio.wait_for(asyncio.shield(started), 10)
        yield
        task.cancel()


async def deployments(client: Client) -> set[str]:
    """Return the names of the mesh's Deployments."""
    return {str(each.metadata.name) async for each in client.api.list(Deployment, namespace=NAMESPACE) if each.metadata}


async def make_ready(client: Client) -> None:
    """Say of every Deployment what a cluster with nodes would say once its pods are available."""
    async for each in client.api.list(Deployment, namespace=NAMESPACE):
        assert each.metadata is not None
        status = {"observedGeneration": each.metadata.generation, "replicas": 1, "updatedReplicas": 1}
        await client.api.patch(
            Deployment.Status,
            str(each.metadata.name),
            {"status": {**status, "readyReplicas": 1, "availableReplicas": 1}},
            namespace=NAMESPACE,
            patch_type=PatchType.MERGE,
        )


async def test_life_of_a_mesh(tmp_path: Path) -> None:
    """A control plane becomes a mesh, says when it is ready, loses a gateway that is removed, and goes as a whole."""
    async with (
        cluster_with_operator_installed(tmp_path) as (cluster, kubeconfig),
        connect(field_manager="test", kubeconfig=cluster.kubeconfig) as admin,
        operating(kubeconfig),
    ):

        async def said(text: str) -> bool:
            return text in " ".join((await cluster.kubectl("get", "smcp", "-n", NAMESPACE))[1].split())

        async def deployed(names: set[str]) -> bool:
            return await deployments(admin) == names

        await cluster.create(SOURCE)
        await until(lambda: deployed(DEPLOYMENTS))
        await until(lambda: said("red-mesh 0/3 ComponentsNotReady red-mesh.local"))
        await make_ready(admin)
        await until(lambda: said("red-mesh 3/3 ComponentsReady red-mesh.local"))
        removal = '[{"op": "remove", "path": "/spec/gateways/additionalIngress/ingress-green-mesh"}]'
        await cluster.kubectl("patch", "smcp", "red-mesh", "-n", NAMESPACE, "--type=json", "-p", removal)
        await until(lambda: deployed(DEPLOYMENTS - {"ingress-green-mesh"}))
        await until(lambda: said("red-mesh 2/2 ComponentsReady"))
        await cluster.kubectl("delete", "smcp", "red-mesh", "-n", NAMESPACE)
        await until(lambda: deployed(set()))

        async def role_is_gone() -> bool:
            return (await cluster.kubectl("get", "clusterrole", f"istiod-red-mesh-{NAMESPACE}"))[0] != 0

        await until(role_is_gone)


async def test_mesh_that_went_while_nobody_looked(tmp_path: Path) -> None:
    """What is left of a control plane that was deleted while the operator was down goes when it comes back."""
    async with (
        cluster_with_operator_installed(tmp_path) as (cluster, kubeconfig),
        connect(field_manager="test", kubeconfig=cluster.kubeconfig) as admin,
    ):

        async def cluster_roles() -> list[str]:
            roles = admin.api.list(ClusterRole, labels={"maistra.io/owner-name": "red-mesh"})
            return [str(each.metadata.name) async for each in roles if each.metadata]

        async def gone() -> bool:
            return not await cluster_roles() and not await deployments(admin)

        async def made() -> bool:
            return bool(await cluster_roles()) and await deployments(admin) == DEPLOYMENTS

        await cluster.create(SOURCE)
        async with operating(kubeconfig):
            await until(made)
        await cluster.kubectl("delete", "smcp", "red-mesh", "-n", NAMESPACE)
        async with operating(kubeconfig):
            await until(gone)


async def test_drift_is_repaired_and_what_others_add_stays(tmp_path: Path) -> None:
    """A field of ours that someone changes is put back; a label that someone adds is not touched."""
    async with (
        cluster_with_operator_installed(tmp_path) as (cluster, kubeconfig),
        connect(field_manager="test", kubeconfig=cluster.kubeconfig) as admin,
        operating(kubeconfig),
    ):

        async def replicas() -> int | None:
            return (await admin.api.get(Deployment, "istiod-red-mesh", namespace=NAMESPACE)).spec.replicas

        async def repaired() -> bool:
            return await replicas() == 1

        async def made() -> bool:
            return await deployments(admin) == DEPLOYMENTS

        await cluster.create(SOURCE)
        await until(made)
        await cluster.kubectl("label", "deploy", "istiod-red-mesh", "-n", NAMESPACE, "mine=yes")
        await cluster.kubectl("scale", "deploy", "istiod-red-mesh", "-n", NAMESPACE, "--replicas=4")
        await until(repaired)
        found = await admin.api.get(Deployment, "istiod-red-mesh", namespace=NAMESPACE)
        assert found.metadata is not None
        assert (found.metadata.labels or {})["mine"] == "yes"


async def test_impossible_mesh_is_explained_and_leaves_all_as_it_is(tmp_path: Path) -> None:
    """A control plane that makes no sense says why in its status, and the mesh that stands is not touched."""
    async with (
        cluster_with_operator_installed(tmp_path) as (cluster, kubeconfig),
        connect(field_manager="test", kubeconfig=cluster.kubeconfig) as admin,
        operating(kubeconfig),
    ):

        async def made() -> bool:
            return await deployments(admin) == DEPLOYMENTS

        async def explained() -> bool:
            _, output = await cluster.kubectl("get", "smcp", "-n", NAMESPACE, "-o", "wide")
            return "is both an ingress and an egress" in output

        await cluster.create(SOURCE)
        await until(made)
        twice = '{"spec": {"gateways": {"additionalIngress": {"egress-green-mesh": {}}}}}'
        await cluster.kubectl("patch", "smcp", "red-mesh", "-n", NAMESPACE, "--type=merge", "-p", twice)
        await until(explained)
        assert await made()
