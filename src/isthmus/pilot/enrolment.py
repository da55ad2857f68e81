"""Enrolment: carries out what ``federation.enrolment`` decides on the message of a mesh that was invited.

The invitation is used up first, by a write that only one of several replicas can succeed with; the peer is made of what
the message says after that. Every refusal is one line in the log, without anything secret.
"""

import base64
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from datetime import UTC, datetime

import msgspec
import structlog
from lightkube.resources.core_v1 import ConfigMap, Secret

from isthmus.api import ServiceMeshPeer
from isthmus.discovery import Application, EnrolmentUnavailableError
from isthmus.federation.enrolment import Answer, OpenInvitation, Refusal, Surroundings, Welcome, judge
from isthmus.federation.introduction import ROOT_KEY, Introduction
from isthmus.federation.invitation import CONTENT_KEY
from isthmus.federation.peer import Mesh
from isthmus.kube import Client, key_of
from isthmus.kube.errors import AlreadyExists, KubeError, translated
from isthmus.pilot.cluster import Cluster
from isthmus.pilot.invitations import Invitations

log = structlog.get_logger(__name__)


class Enrolments:
    """Makes peers of the meshes that were invited (``discovery.Enroller``)."""

    def __init__(
        self,
        client: Client,
        cluster: Cluster,
        mesh: Mesh,
        invitations: Invitations,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """``now`` is the clock by which invitations expire."""
        self._client = client
        self._cluster = cluster
        self._mesh = mesh
        self._invitations = invitations
        self._now = now

    async def enrol(self, application: Application) -> Answer:
        """Grant or refuse. Raises EnrolmentUnavailableError: the cluster did not do it; it may be asked again."""
        kept = [each for each in self._invitations.kept() if self._is_gateway_of(application, each.invitation)]
        verdict = judge(
            application.authorization,
            application.body,
            invitations=[each.invitation for each in kept],
            surroundings=self._surroundings(),
            now=self._now(),
        )
        if isinstance(verdict, Refusal):
            reason = verdict.answer.reason
            log.warning("enrolment refused", peer=verdict.peer, reason=reason, source=application.source)
        elif verdict.used is not None:
            secret = next(each.secret for each in kept if each.invitation is verdict.invitation)
            await self._accept(verdict, verdict.used, secret, source=application.source)
        return verdict.answer

    def _is_gateway_of(self, application: Application, invitation: OpenInvitation) -> bool:
        return application.caller in self._mesh.gateway_accounts(invitation.ingress)

    def _surroundings(self) -> Surroundings:
        cluster = self._cluster
        # Of a peer that cannot be understood nothing is known but its name, and that is taken.
        unread = {key.name: "" for key in cluster.peers.rejected}
        domains = {each.metadata.name or "": each.spec.security.trust_domain for each in cluster.peers.values()}
        return Surroundings(
            mesh=self._mesh.name,
            trust_domains=self._mesh.trust_domains,
            peers=unread | domains,
            roots={key_of(each).name: (each.data or {}).get(ROOT_KEY, "") for each in cluster.config_maps.values()},
        )

    async def _accept(self, welcome: Welcome, used: OpenInvitation, secret: Secret, *, source: str) -> None:
        joiner, peer = welcome.joiner, used.peer
        try:
            secret = await self._keep(used, secret)
            await self._make_peer(joiner, used)
            await self._keep(msgspec.structs.replace(used, is_done=True), secret)
        except KubeError as error:
            log.warning("enrolment failed", peer=peer, source=source, cause=str(error))
            raise EnrolmentUnavailableError(
                f"{self._mesh.name} could not make {peer} a peer now: its control plane's log says why; ask again"
            ) from error
        roots = joiner.check().fingerprints()
        log.info("peer enrolled", peer=peer, source=source, trust_domain=joiner.trust_domain, roots=roots)

    async def _keep(self, invitation: OpenInvitation, secret: Secret) -> Secret:
        """Store what became of the invitation; fails if anyone has changed the Secret since it was read."""
        changed = deepcopy(secret)
        changed.data = {CONTENT_KEY: base64.b64encode(msgspec.json.encode(invitation)).decode("ascii")}
        with translated(f"update the invitation of {invitation.peer}"):
            return await self._client.api.replace(changed)

    async def _make_peer(self, joiner: Introduction, invitation: OpenInvitation) -> None:
        name, namespace = invitation.peer, self._mesh.namespace
        peer = joiner.peer(name=name, namespace=namespace, ingress=invitation.ingress, egress=invitation.egress)
        await self._create(joiner.roots(name=name, namespace=namespace))
        await self._create(peer)

    async def _create(self, made: ConfigMap | ServiceMeshPeer) -> None:
        with suppress(AlreadyExists), translated(f"create {type(made).__name__} {key_of(made)}"):
            # It is there if an answer was lost; what someone else has made was a reason to refuse.
            await self._client.api.create(made)
