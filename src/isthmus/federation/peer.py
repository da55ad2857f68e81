"""What a ServiceMeshPeer means: who the peer is, where it is, who vouches for it; or why it means nothing.

Source: docs/reference.md §3.
"""

import hashlib
import re
from dataclasses import dataclass, replace

from isthmus.api import ServiceMeshPeer
from isthmus.api.meta import DNS_LABEL
from isthmus.federation.checksum import remote_checksum
from isthmus.federation.names import discovery_name
from isthmus.federation.plan import AdmittedPeer, Endpoint, RemotePeer
from isthmus.identity import IdentityError, SpiffeId, TrustBundle, TrustDomain

ROOT_KEY = "root-cert.pem"


@dataclass(frozen=True, slots=True)
class Mesh:
    """Our own mesh: its name, where its control plane lives, and who vouches for it."""

    name: str
    namespace: str
    bundle: TrustBundle
    cluster_domain: str = "cluster.local"
    aliases: tuple[TrustDomain, ...] = ()
    """Other trust domains whose identities are our own if our roots vouch for them: a mesh that moves from one trust
    domain to another has certificates of both for a while."""

    @property
    def trust_domain(self) -> TrustDomain:
        """The trust domain of all identities that this mesh issues."""
        return self.bundle.trust_domain

    @property
    def trust_domains(self) -> tuple[TrustDomain, ...]:
        """All trust domains that are ours, that of new identities first."""
        return (self.trust_domain, *(each for each in self.aliases if each != self.trust_domain))

    def own_roots(self, trust_domain: TrustDomain) -> TrustBundle:
        """Our own roots, to vouch for one of our trust domains."""
        return TrustBundle.of(trust_domain, self.bundle.roots)

    def account(self, name: str) -> SpiffeId:
        """The identity of a service account in the control plane's namespace."""
        return SpiffeId.service_account(self.trust_domain, namespace=self.namespace, account=name)

    def accounts(self, name: str) -> tuple[SpiffeId, ...]:
        """All identities that prove this service account, one for each of our trust domains."""
        return tuple(
            SpiffeId.service_account(each, namespace=self.namespace, account=name) for each in self.trust_domains
        )

    @property
    def pilot_account(self) -> SpiffeId:
        """The identity of the control plane itself."""
        return self.account(f"istiod-{self.name}")

    @property
    def pilot_accounts(self) -> tuple[SpiffeId, ...]:
        """All identities that prove the control plane."""
        return self.accounts(f"istiod-{self.name}")

    def gateway_account(self, gateway: str) -> SpiffeId:
        """The identity of a gateway (its pods run as ``<gateway>-service-account``)."""
        return self.account(f"{gateway}-service-account")

    def gateway_accounts(self, gateway: str) -> tuple[SpiffeId, ...]:
        """All identities that prove a gateway."""
        return self.accounts(f"{gateway}-service-account")


class PeerConfigError(Exception):
    """A ServiceMeshPeer cannot be used; ``reason`` is one word for programs, the message is for the administrator."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class PeerConfig:
    """A ServiceMeshPeer that can be used."""

    name: str
    ingress: str
    egress: str
    client: SpiffeId
    remote: RemotePeer
    trusted_as: str = ""
    """As in the plan: stays as it is while roots are only added, so that a rotation breaks nothing before its end."""
    roots_taken_away: int = 0

    @property
    def admitted(self) -> AdmittedPeer:
        """The peer as our ingress gateway lets it in."""
        return AdmittedPeer(self.name, self.client, self.remote.bundle, self.trusted_as, self.roots_taken_away)

    def following(self, before: "PeerConfig | None") -> "PeerConfig":
        """This configuration as the one after ``before``, None if the peer could not be used before."""
        roots = self.remote.bundle
        if before is not None and set(before.remote.bundle.roots) <= set(roots.roots):
            return replace(self, trusted_as=before.trusted_as, roots_taken_away=before.roots_taken_away)
        digest = hashlib.sha256("".join(sorted(roots.fingerprints())).encode()).hexdigest()[:8]
        taken_away = before.roots_taken_away + 1 if before is not None else 0
        return replace(self, trusted_as=digest, roots_taken_away=taken_away)


def peer_config(peer: ServiceMeshPeer, roots: dict[str, str] | None, mesh: Mesh) -> PeerConfig:
    """Read the resource. ``roots`` is the content of the ConfigMap it names, None if there is none of that name.

    Raises:
        PeerConfigError: trust domain, client identity or root certificates are missing or contradict each other.
    """
    name = _name(peer)
    spec = peer.spec
    trust_domain, client = _identity(peer)
    return PeerConfig(
        name=name,
        ingress=spec.gateways.ingress.name,
        egress=spec.gateways.egress.name,
        client=client,
        remote=RemotePeer(
            name=name,
            discovery_name=discovery_name(name, mesh.namespace),
            remote_checksum=remote_checksum(
                spec.remote.addresses,
                discovery_port=spec.remote.discovery_port,
                service_port=spec.remote.service_port,
            ),
            discovery=_endpoints(peer, spec.remote.effective_discovery_port),
            services=_endpoints(peer, spec.remote.effective_service_port),
            bundle=_bundle(peer, trust_domain, roots, mesh),
        ),
    )


def _name(peer: ServiceMeshPeer) -> str:
    """The name of the peer, which is a label of the DNS names of its exports and imports (RFC 1123)."""
    name = peer.metadata.name or ""
    if not re.fullmatch(DNS_LABEL, name):
        raise PeerConfigError(
            "InvalidName", f"metadata.name {name!r} is no DNS label: create the peer under a name like green-mesh"
        )
    return name


def _identity(peer: ServiceMeshPeer) -> tuple[TrustDomain, SpiffeId]:
    security = peer.spec.security
    try:
        trust_domain = TrustDomain(security.trust_domain)
        client = SpiffeId.from_client_id(security.client_id)
    except IdentityError as error:
        raise PeerConfigError("InvalidIdentity", f"spec.security: {error}") from error
    if client.trust_domain != trust_domain:
        raise PeerConfigError(
            "ClientOutsideTrustDomain",
            f"spec.security.clientID {security.client_id} is not of trust domain {trust_domain}: "
            "no root vouches for it; correct clientID or trustDomain",
        )
    return trust_domain, client


def _endpoints(peer: ServiceMeshPeer, port: int) -> tuple[Endpoint, ...]:
    return tuple(Endpoint(address, port) for address in peer.spec.remote.addresses)


def _bundle(peer: ServiceMeshPeer, trust_domain: TrustDomain, roots: dict[str, str] | None, mesh: Mesh) -> TrustBundle:
    """The roots of the peer; if it is of a trust domain of ours, our own, whatever the resource names."""
    if trust_domain in mesh.trust_domains:
        return mesh.own_roots(trust_domain)
    where = f"{mesh.namespace}/{peer.root_config_map}"
    if roots is None:
        raise PeerConfigError("RootNotFound", f"ConfigMap {where} does not exist: create it with key {ROOT_KEY}")
    if ROOT_KEY not in roots:
        found = ", ".join(sorted(roots)) or "none"
        raise PeerConfigError("RootKeyMissing", f"ConfigMap {where} has no key {ROOT_KEY} (its keys: {found})")
    try:
        return TrustBundle.parse(trust_domain, roots[ROOT_KEY])
    except IdentityError as error:
        raise PeerConfigError("RootInvalid", f"ConfigMap {where}, key {ROOT_KEY}: {error}") from error
