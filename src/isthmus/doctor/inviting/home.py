"""Our own mesh, in the one cluster that we have access to: how it introduces itself to a peer, and its gateways for it.

What gateways there must be, and where an ingress is reached, is decided as for a link between two clusters that we see.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightkube.resources.apps_v1 import Deployment

from isthmus.api.meta import DNS_LABEL
from isthmus.doctor.inviting.errors import Refused, Unfinished
from isthmus.doctor.linking import LinkError, Options
from isthmus.doctor.linking.addresses import NotYet, Remote, Unreachable, remote
from isthmus.doctor.linking.checks import gateway_problems
from isthmus.doctor.linking.linking import write
from isthmus.doctor.linking.options import ServiceType
from isthmus.doctor.linking.plan import Step, Verb, control_plane_step
from isthmus.doctor.linking.reading import MeshAsked, Site, connected, read_meshes
from isthmus.doctor.linking.state import SECTIONS, MeshState
from isthmus.doctor.objects import at
from isthmus.federation.introduction import Introduction, InvalidIntroductionError
from isthmus.identity import SpiffeId, TrustDomain
from isthmus.kube import Client
from isthmus.kube.errors import NotFound, translated

POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Found:
    """Where our ingress gateway for a peer is reached."""

    remote: Remote
    ips: tuple[str, ...]
    """IP addresses of it, whether or not it has names."""


class Home:
    """Our mesh, and the connection to its cluster. Made by :func:`at_home`."""

    def __init__(self, site: Site, peer: str, mesh: MeshState) -> None:
        """``mesh`` is what was found of it, as far as it has to do with ``peer``."""
        self._site = site
        self.peer = peer
        self.mesh = mesh

    @property
    def client(self) -> Client:
        """The connection."""
        return self._site.client

    @property
    def trust_domains(self) -> frozenset[str]:
        """Ours, with its aliases."""
        trust = at(self.mesh.control_plane, "spec", "security", "trust")
        return frozenset({self.mesh.trust_domain, *map(str, trust.get("additionalDomains") or ())})

    def identity(self, gateway: str) -> SpiffeId:
        """Who a gateway of ours is."""
        account = f"{gateway}-service-account"
        return SpiffeId.service_account(
            TrustDomain(self.mesh.trust_domain), namespace=self.mesh.namespace, account=account
        )

    def gateway(self, role: str) -> str:
        """The name of our gateway for the peer."""
        return f"{role}-{self.peer}"

    def introduction(self, found: Found | None = None) -> Introduction:
        """How we introduce ourselves to the peer; without addresses while these are not known.

        Raises Refused: there is something in it that the peer could not use.
        """
        made = Introduction(
            mesh=self.mesh.name,
            namespace=self.mesh.namespace,
            trust_domain=self.mesh.trust_domain,
            root=self.mesh.root,
            client_id=self.identity(self.gateway("egress")).without_scheme,
            addresses=found.remote.addresses if found else (),
            discovery_port=found.remote.discovery_port if found else 8188,
            service_port=found.remote.service_port if found else 15443,
        )
        try:
            made.check()
        except InvalidIntroductionError as error:
            raise Refused(f"{self.mesh.name} cannot introduce itself: {error}") from error
        return made

    def problems(self) -> list[str]:
        """Why this mesh cannot have a new peer of that name, each with what to do."""
        where = f"{self.mesh.namespace}/{self.peer}"
        return [
            *(
                [f"there is a ServiceMeshPeer {where} already: delete it first, if it is to be made anew"]
                if self.peer in self.mesh.peers
                else []
            ),
            *gateway_problems(self.mesh, _named(self.peer)),
        ]

    def gateways_step(self, service_type: ServiceType | None) -> Step:
        """What is to be written so that there are gateways for the peer."""
        return control_plane_step(self.mesh, [_named(self.peer)], Options(service_type=service_type))

    async def write(self, step: Step) -> None:
        """Carry out a step. Raises KubeError."""
        if step.verb is not Verb.KEEP:
            await write(self._site, step)

    async def wait_reachable(self, given: Sequence[str], *, timeout_s: float) -> Found:
        """Wait until the ingress gateway is ready and has an address; ``given`` are those that it is said to have.

        Raises Unfinished: not in time. Refused: it will never have one.
        """
        waiting = "its gateways are not there yet"
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    found = await self._reachable(given)
                    if isinstance(found, Found):
                        return found
                    waiting = found.reason
                    await asyncio.sleep(POLL_S)
        except TimeoutError as error:
            raise Unfinished(f"{self.mesh.name} is not reachable within {timeout_s:g} s: {waiting}") from error

    async def _reachable(self, given: Sequence[str]) -> Found | NotYet:
        await self.refresh()
        gateway = self.gateway("ingress")
        try:
            where = remote(self.mesh, gateway, caller=_named(self.peer), given=given)
        except Unreachable as error:
            raise Refused(
                f"the ingress gateway {gateway} of {self.mesh.name} is reached from inside of its cluster only: make "
                "it a LoadBalancer or NodePort in the ServiceMeshControlPlane, or say where it is reached by --address"
            ) from error
        if isinstance(where, NotYet):
            return where
        if not await self._is_ready(gateway):
            return NotYet(f"gateway {gateway} is not ready yet")
        balancer = at(self.mesh.services.get(gateway, {}), "status", "loadBalancer").get("ingress") or ()
        return _found(where, () if given else balancer)

    async def refresh(self) -> None:
        """Look at the mesh again. Raises KubeError, LinkError."""
        (self.mesh,) = await read_meshes([self._site], [self.peer])

    async def _is_ready(self, gateway: str) -> bool:
        try:
            with translated(f"read Deployment {self.mesh.namespace}/{gateway}"):
                found = await self.client.api.get(Deployment, gateway, namespace=self.mesh.namespace)
        except NotFound:
            return False
        return bool(found.status and (found.status.readyReplicas or 0) > 0)


@asynccontextmanager
async def at_home(
    peer: str, *, mesh: str = "", context: str | None = None, kubeconfig: Path | None = None
) -> AsyncIterator[Home]:
    """Connect to our cluster, and find our mesh in it: the one called ``mesh``, NAMESPACE/NAME, or the only one.

    Raises:
        Refused: ``peer`` can be no mesh. It may be empty, where it does not matter.
        ContextError: there is no such context.
        LinkError: the mesh cannot be found.
        KubeError: the cluster does not answer.
    """
    if peer and not re.fullmatch(DNS_LABEL, peer):
        raise Refused(f"{peer!a}: expected the name of a mesh, which is a DNS label")
    namespace, _, name = mesh.rpartition("/")
    async with connected([MeshAsked(name, namespace, context)], kubeconfig) as (site,):
        (found,) = await read_meshes([site], [peer])
        if not found.root:
            raise LinkError(
                [f"the control plane of {found.name} has not published its root yet: wait until it is ready"]
            )
        yield Home(site, peer, found)


def undone(before: MeshState, step: Step) -> dict[str, Any]:
    """The merge patch that takes back what a step has added to a control plane that was as ``before``."""
    spec = at(step.object or {}, "spec", "gateways")
    sections: dict[str, Any] = {}
    for role, section in SECTIONS.items():
        added = [name for name in spec.get(section) or {} if name not in before.gateways(role)]
        if added:
            sections[section] = dict.fromkeys(added) if before.gateways(role) else None
    is_all = all(value is None for value in sections.values())
    is_empty = is_all and set(at(before.control_plane, "spec", "gateways")) <= set(sections)
    return {"spec": {"gateways": None if is_empty else sections}}


def _found(where: Remote, balancer: Sequence[Any]) -> Found:
    """Names before addresses, since an address may change under its name; addresses besides."""
    names = tuple(sorted({str(each["hostname"]) for each in balancer if each.get("hostname")}))
    ips = tuple(sorted({str(each["ip"]) for each in balancer if each.get("ip")}))
    return Found(Remote(names or where.addresses, where.discovery_port, where.service_port), ips)


def _named(peer: str) -> MeshState:
    """A mesh of which nothing is known but its name."""
    return MeshState(context="", server="", control_plane={"metadata": {"name": peer, "namespace": ""}})
