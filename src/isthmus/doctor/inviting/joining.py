"""The joiner's side: everything of ours is made first, and the inviter's consent is what completes it.

Before anything is made the inviter is asked whether it would consent. If it does not do so in the end, what was made is
taken back.
"""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
from lightkube.resources.core_v1 import ConfigMap

from isthmus.api import ServiceMeshPeer
from isthmus.discovery import LinkError as NoAnswer
from isthmus.discovery import UnsentError, ask_inviter
from isthmus.doctor.inviting.errors import Refused, Unfinished
from isthmus.doctor.inviting.home import Home, undone
from isthmus.doctor.linking.options import ServiceType
from isthmus.doctor.linking.plan import Step, Verb
from isthmus.doctor.linking.readiness import not_ready
from isthmus.doctor.linking.state import ROOT_KEY, MeshState
from isthmus.doctor.objects import at
from isthmus.doctor.printable import printable
from isthmus.federation.enrolment import Answer, Enrolment, Phase
from isthmus.federation.introduction import Introduction, root_config_map
from isthmus.federation.invitation import ID_BYTES, Token, joining_problem
from isthmus.federation.marks import DIGEST
from isthmus.kube import key_of, metadata_of
from isthmus.kube.errors import KubeError, NotFound, Unavailable, translated

Progress = Callable[[str], None]
"""Is told each stage that is done."""

CHECK_TIMEOUT_S = 3.0
"""The inviter's gateway has heard of a new invitation long before: what does not answer by then is asked in vain."""
ENROL_TIMEOUT_S = 30.0
"""A lost answer is asked for again for so long."""
POLL_S = 0.1
RETRY_S = 0.3


class Joiner:
    """One attempt to join by a token."""

    def __init__(self, home: Home, token: Token, *, progress: Progress) -> None:
        """``home`` is our mesh, looked at for the inviter as its peer."""
        self._home = home
        self._token = token
        self._progress = progress
        self._nonce = secrets.token_hex(ID_BYTES)
        self._gateways: tuple[MeshState, Step] | None = None
        self._objects: list[ConfigMap | ServiceMeshPeer] = []
        self._is_kept = False

    async def join(self, *, addresses: Sequence[str], service_type: ServiceType | None, timeout_s: float) -> None:
        """Make our side, and have the inviter make theirs.

        Raises:
            Refused: by us or by the inviter; nothing is left of it in either cluster.
            Unfinished: our gateways have no address yet, or it is not known whether the inviter has consented; what
                was made stays. Or it could not be taken back.
            KubeError, LinkError: as for the parts; what was made is taken back.
        """
        self._check_ourselves()
        await self._check()
        try:
            await self._make_gateways(service_type)
            joiner = await self._reachable(addresses, timeout_s=timeout_s)
            await self._make_peer()
            await self._enrol(joiner)
        finally:
            if not self._is_kept:
                await self._take_back()

    async def wait_ready(self, *, timeout_s: float) -> None:
        """Wait until the peer is ready. Raises Unfinished: not in time; everything stays."""
        why = "not looked at yet"
        try:
            async with asyncio.timeout(timeout_s):
                while why := await self._not_ready():  # noqa: ASYNC110  (what is waited for is in a cluster)
                    await asyncio.sleep(POLL_S)
        except TimeoutError as error:
            raise Unfinished(
                f"{self._home.peer} is a peer on both sides, and not ready within {timeout_s:g} s: {why}"
            ) from error

    async def _not_ready(self) -> str:
        """Why the peer is not ready, that our cluster does not tell included; empty if it is."""
        try:
            await self._home.refresh()
        except KubeError as error:
            return str(error)
        return not_ready(self._home.mesh.peers.get(self._home.peer, {}))

    def _check_ourselves(self) -> None:
        """What we can tell without asking anybody."""
        mesh, invitation = self._home.mesh, self._token.invitation
        now = datetime.now(UTC)
        problem = joining_problem(invitation, mesh=mesh.name, trust_domains=self._home.trust_domains, now=now)
        if problem:
            raise Refused(f"the token is of no use here: {problem}")
        if problems := [*self._home.problems(), *_clashes(invitation.inviter, mesh)]:
            raise Refused("; ".join(problems))

    async def _check(self) -> None:
        try:
            answer = await self._ask("check", self._home.introduction(), within_s=CHECK_TIMEOUT_S)
        except NoAnswer as error:
            raise Refused(
                f"{self._home.peer} takes no enrolment: {error}; either its gateway cannot be reached from here, or "
                "the invitation was revoked or has expired there"
            ) from error
        self._heed(answer)
        self._progress(f"{self._home.peer} would consent")

    async def _make_gateways(self, service_type: ServiceType | None) -> None:
        step = self._home.gateways_step(service_type)
        if step.verb is not Verb.KEEP:
            self._gateways = (self._home.mesh, step)
            await self._home.write(step)

    async def _reachable(self, addresses: Sequence[str], *, timeout_s: float) -> Introduction:
        try:
            return self._home.introduction(await self._home.wait_reachable(addresses, timeout_s=timeout_s))
        except Unfinished as error:
            self._is_kept = True  # making them anew would take as long again
            raise Unfinished(f"{error}; its gateways stay, and the same command goes on") from error

    async def _make_peer(self) -> None:
        inviter, home = self._token.invitation.inviter, self._home
        namespace = home.mesh.namespace
        if root_config_map(home.peer) not in home.mesh.config_maps:
            await self._create(inviter.roots(name=home.peer, namespace=namespace))
        ingress, egress = home.gateway("ingress"), home.gateway("egress")
        await self._create(inviter.peer(name=home.peer, namespace=namespace, ingress=ingress, egress=egress))
        self._progress("gateways, root and peer are made here")

    async def _create(self, made: ConfigMap | ServiceMeshPeer) -> None:
        self._objects.append(made)  # before it is asked for: the answer may be lost
        try:
            with translated(f"create {type(made).__name__} {key_of(made)}"):
                await self._home.client.api.create(made)
        except KubeError as error:
            if not isinstance(error, Unavailable):
                self._objects.remove(made)
            raise

    async def _enrol(self, joiner: Introduction) -> None:
        self._is_kept = True  # whatever happens now, the inviter may have consented
        try:
            answer = await self._ask("enrol", joiner, within_s=ENROL_TIMEOUT_S)
        except UnsentError as error:
            self._is_kept = False
            raise Refused(f"{self._home.peer} takes no enrolment any more: {error}") from error
        except NoAnswer as error:
            raise Unfinished(
                f"it is not known whether {self._home.peer} has consented: {error}; the peer stays here, and becomes "
                f"ready if it has; if it does not, delete ServiceMeshPeer {self._home.peer} and ask for another token"
            ) from error
        self._is_kept = answer.is_granted
        self._heed(answer)
        self._progress(f"{self._home.peer} has consented")

    async def _ask(self, phase: Phase, joiner: Introduction, *, within_s: float) -> Answer:
        """Send one message until it is answered.

        Raises UnsentError: it was never sent. NoAnswer: it was, and may have arrived.
        """
        body = msgspec.json.encode(Enrolment(phase=phase, nonce=self._nonce, joiner=joiner))
        until = asyncio.get_running_loop().time() + within_s
        lost: NoAnswer | None = None
        while True:
            try:
                return await ask_inviter(self._token, body)
            except UnsentError as error:
                failure = lost or error
            except NoAnswer as error:
                failure = lost = error
            if asyncio.get_running_loop().time() > until:
                raise failure
            await asyncio.sleep(RETRY_S)

    def _heed(self, answer: Answer) -> None:
        if not answer.is_granted:
            raise Refused(f"{self._home.peer} refuses ({answer.reason}): {printable(answer.message)}")

    async def _take_back(self) -> None:
        """Remove what this attempt has made, and nothing else."""
        try:
            for made in reversed(self._objects):
                await self._remove(made)
            if self._gateways is not None:
                before, step = self._gateways
                await self._home.write(replace(step, object=None, patch=undone(before, step)))
        except KubeError as error:
            mesh = self._home.mesh.name
            raise Unfinished(
                f"not joined, and not all that was made could be taken back from {mesh}: {error}"
            ) from error

    async def _remove(self, made: ConfigMap | ServiceMeshPeer) -> None:
        """Delete it if it is there, and not by someone else who was quicker than a request of ours that was lost."""
        key, kind, api = key_of(made), type(made), self._home.client.api
        with suppress(NotFound), translated(f"delete {kind.__name__} {key}"):
            there = await api.get(kind, key.name, namespace=key.namespace)
            if _mark(there) == _mark(made):
                await api.delete(kind, key.name, namespace=key.namespace)


def _mark(made: ConfigMap | ServiceMeshPeer) -> str:
    """The digest that what we make bears; empty for what others have made."""
    return str((metadata_of(made).annotations or {}).get(DIGEST, ""))


def _clashes(inviter: Introduction, mesh: MeshState) -> list[str]:
    """What of ours the inviter must not touch: a trust domain has one mesh, and roots that we have stay."""
    found = [
        f"ServiceMeshPeer {name} has the trust domain {inviter.trust_domain} of {inviter.mesh} already"
        for name, peer in mesh.peers.items()
        if at(peer, "spec", "security").get("trustDomain") == inviter.trust_domain
    ]
    name = root_config_map(inviter.mesh)
    if at(mesh.config_maps.get(name, {}), "data").get(ROOT_KEY, inviter.root) != inviter.root:
        found.append(f"ConfigMap {mesh.namespace}/{name} has other roots than {inviter.mesh}: delete it first")
    return found
