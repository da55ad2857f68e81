"""Reads what a link depends on from the clusters of the meshes. Nothing is decided here, and nothing written."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from isthmus.doctor.contexts import connect, load_context
from isthmus.doctor.linking.errors import LinkError
from isthmus.doctor.linking.names import gateway_name, root_name
from isthmus.doctor.linking.state import ROOT_CONFIG_MAP, ROOT_KEY, MeshState, Object
from isthmus.doctor.objects import at, found, listed, side_by_side
from isthmus.kube import Client
from isthmus.kube.errors import NotFound

MANAGER = "isthmus-link"
"""The field manager of all that is written."""
ABSENT = "-"
"""Instead of a context: the mesh is gone, or out of reach, and is only to be forgotten by the others."""


@dataclass(frozen=True, slots=True)
class MeshAsked:
    """A mesh as the administrator names it.

    ``namespace``: empty for the one that it is found in. ``name``: empty for the only mesh that there is.
    """

    name: str
    namespace: str
    context: str | None

    @property
    def where(self) -> str:
        return f"context {self.context}" if self.context else "the current context"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A mesh that was asked for, the connection to its cluster, and the address of that cluster's API server."""

    asked: MeshAsked
    client: Client
    server: str


def meshes_asked(meshes: Sequence[str], contexts: Sequence[str]) -> list[MeshAsked]:
    """Put ``MESH`` or ``NAMESPACE/MESH`` and contexts together: one context for each mesh, or one, or none, for all.

    Raises LinkError: the numbers do not fit.
    """
    if len(contexts) not in {0, 1, len(meshes)}:
        listed = f"{len(meshes)} meshes ({', '.join(meshes)}) and {len(contexts)} contexts ({', '.join(contexts)})"
        raise LinkError([f"{listed}: expected a context for each mesh, or one for all of them"])
    chosen = contexts if len(contexts) == len(meshes) else [*contexts, None][:1] * len(meshes)
    split = [mesh.rpartition("/") for mesh in meshes]
    return [MeshAsked(name, namespace, context) for (namespace, _, name), context in zip(split, chosen, strict=True)]


@asynccontextmanager
async def connected(asked: Iterable[MeshAsked], kubeconfig: Path | None) -> AsyncIterator[list[Site]]:
    """Connect to the cluster of each mesh that has one. Raises ContextError before anything is asked of any."""
    async with AsyncExitStack() as stack:
        sites: dict[str | None, tuple[Client, str]] = {}
        reachable = [mesh for mesh in asked if mesh.context != ABSENT]
        for context in dict.fromkeys(mesh.context for mesh in reachable):
            config = await asyncio.to_thread(load_context, context, kubeconfig)
            client = await stack.enter_async_context(connect(context, kubeconfig=kubeconfig, field_manager=MANAGER))
            sites[context] = (client, config.cluster.server)
        yield [Site(asked=mesh, client=sites[mesh.context][0], server=sites[mesh.context][1]) for mesh in reachable]


async def read_meshes(sites: Sequence[Site], names: Sequence[str]) -> list[MeshState]:
    """Each mesh, with what a link between meshes of these ``names`` depends on.

    Raises:
        LinkError: a mesh cannot be found; every such mesh is told.
        KubeError: a cluster does not answer, or does not let us read.
    """
    read = await side_by_side([_mesh(site) for site in sites])
    if missing := [problem for each in read if isinstance(each, LinkError) for problem in each.problems]:
        raise LinkError(missing)
    there = [each for each in read if isinstance(each, MeshState)]
    return await side_by_side([_with_objects(site, mesh, names) for site, mesh in zip(sites, there, strict=True)])


async def read_peers(site: Site, mesh: MeshState) -> dict[str, Object]:
    """The ServiceMeshPeers of a mesh, by name."""
    path = f"/apis/federation.maistra.io/v1/namespaces/{mesh.namespace}/servicemeshpeers"
    return {each["metadata"]["name"]: each for each in await _listed(site, path)}


async def _mesh(site: Site) -> MeshState | LinkError:
    control_plane = await _control_plane(site)
    if isinstance(control_plane, LinkError):
        return control_plane
    where = str(site.asked.context or "current")
    mesh = MeshState(context=where, server=site.server, control_plane=control_plane)
    published = await _found(site, f"/api/v1/namespaces/{mesh.namespace}/configmaps/{ROOT_CONFIG_MAP}")
    return replace(
        mesh,
        root=str(at(published or {}, "data").get(ROOT_KEY, "")),
        peers=await read_peers(site, mesh),
    )


async def _control_plane(site: Site) -> Object | LinkError:
    asked = site.asked
    scope = f"/namespaces/{asked.namespace}" if asked.namespace else ""
    try:
        planes = await _listed(site, f"/apis/maistra.io/v2{scope}/servicemeshcontrolplanes")
    except NotFound:
        return LinkError([f"{asked.where} knows no ServiceMeshControlPlanes: apply the output of isthmus crds there"])
    meant = [each for each in planes if asked.name in {"", each["metadata"]["name"]}]
    if len(meant) == 1:
        return {"apiVersion": "maistra.io/v2", "kind": "ServiceMeshControlPlane", **meant[0]}
    named = [f"{each['metadata']['namespace']}/{each['metadata']['name']}" for each in meant or planes]
    there = ", ".join(named) or "none"
    if meant:
        what = f"meshes {asked.name}".rstrip()
        return LinkError([f"{len(meant)} {what} in {asked.where}: name one of {there}"])
    what = f"mesh {asked.name}".rstrip()
    return LinkError([f"no {what} in {asked.where}: there are {there}"])


async def _with_objects(site: Site, mesh: MeshState, names: Sequence[str]) -> MeshState:
    others = [name for name in names if name != mesh.name]
    gateways = {gateway_name("ingress", owner=mesh, peer=other) for other in others}
    roots = {root_name(mesh, other) for other in others}
    core = f"/api/v1/namespaces/{mesh.namespace}"
    services = await _named(site, f"{core}/services", gateways)
    is_node_port = any(at(service, "spec").get("type") == "NodePort" for service in services.values())
    return replace(
        mesh,
        services=services,
        config_maps=await _named(site, f"{core}/configmaps", roots),
        nodes=tuple(await _listed(site, "/api/v1/nodes")) if is_node_port else (),
    )


async def _named(site: Site, path: str, names: Iterable[str]) -> dict[str, Object]:
    """Those objects of these names that there are."""
    ordered = sorted(names)
    there = await side_by_side([_found(site, f"{path}/{name}") for name in ordered])
    return {name: obj for name, obj in zip(ordered, there, strict=True) if obj is not None}


async def _listed(site: Site, path: str) -> list[Any]:
    return await listed(site.client, path, where=site.asked.where)


async def _found(site: Site, path: str) -> Object | None:
    return await found(site.client, path, where=site.asked.where)
