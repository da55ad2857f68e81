"""How one mesh introduces itself to another: all that the other's ServiceMeshPeer will say of it.

An invitation carries the inviter's introduction, an enrolment the joiner's. Both come from outside and are data:
:meth:`Introduction.check` says what is wrong with one before anything is made of it. Source: docs/protocol.md §5.
"""

import ipaddress
import re
from typing import Annotated, Any, Final

import msgspec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap

from isthmus.api import ServiceMeshPeer
from isthmus.api.meta import DNS_LABEL
from isthmus.api.peer import (
    DISCOVERY_PORT,
    SERVICE_PORT,
    CertificateChain,
    GatewayName,
    PeerGateways,
    PeerRemote,
    PeerSecurity,
    PeerSpec,
)
from isthmus.federation.marks import DIGEST, LABEL, digest
from isthmus.identity import IdentityError, SpiffeId, TrustBundle, TrustDomain

MAX_ROOT_LENGTH: Final = 24 * 1024
"""Longest PEM text of roots: a dozen certificates, and no more than a token can carry."""
MAX_ADDRESSES: Final = 16

ROOT_KEY: Final = "root-cert.pem"

_NAME: Final = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.?")
_NUMERIC: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_Text = Annotated[str, msgspec.Meta(max_length=1024)]
_Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class InvalidIntroductionError(ValueError):
    """An introduction cannot be used; the message says which part of it, and what was expected."""


class Introduction(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A mesh as another one is to know it."""

    mesh: _Text
    namespace: _Text
    trust_domain: _Text
    root: Annotated[str, msgspec.Meta(max_length=MAX_ROOT_LENGTH)]
    """PEM: the roots that vouch for the trust domain."""
    client_id: _Text
    """Who calls in the mesh's name: its egress gateway, as ``spec.security.clientID`` writes it."""
    addresses: Annotated[tuple[_Text, ...], msgspec.Meta(max_length=MAX_ADDRESSES)] = ()
    """Where its ingress gateway is reached; empty while that is not known yet."""
    discovery_port: _Port = DISCOVERY_PORT
    service_port: _Port = SERVICE_PORT

    def check(self) -> TrustBundle:
        """Check every part; returns the bundle of its roots. That there are addresses is not checked.

        Raises InvalidIntroductionError.
        """
        for what, name in (("mesh", self.mesh), ("namespace", self.namespace)):
            if not re.fullmatch(DNS_LABEL, name):
                raise InvalidIntroductionError(f"the {what} is called {name[:80]!a}: expected a DNS label")
        for address in self.addresses:
            if problem := address_problem(address):
                raise InvalidIntroductionError(f"the address {address[:80]!a} {problem}")
        try:
            trust_domain = TrustDomain(self.trust_domain)
            _check_client(SpiffeId.from_client_id(self.client_id), trust_domain, self.namespace)
            return TrustBundle.parse(trust_domain, self.root)
        except IdentityError as error:
            raise InvalidIntroductionError(str(error)) from error

    def peer(self, *, name: str, namespace: str, ingress: str, egress: str) -> ServiceMeshPeer:
        """The resource by which this mesh becomes the peer ``name`` of the mesh in ``namespace``."""
        spec = PeerSpec(
            remote=PeerRemote(
                addresses=self.addresses, discovery_port=self.discovery_port, service_port=self.service_port
            ),
            gateways=PeerGateways(ingress=GatewayName(name=ingress), egress=GatewayName(name=egress)),
            security=PeerSecurity(
                trust_domain=self.trust_domain,
                client_id=self.client_id,
                certificate_chain=CertificateChain(name=root_config_map(name)),
            ),
        )
        content: dict[str, Any] = msgspec.to_builtins(spec)
        content["security"]["certificateChain"]["kind"] = "ConfigMap"  # which is how the API server stores the default
        return ServiceMeshPeer(metadata=_marked(name, namespace, peer=name, content={"spec": content}), spec=spec)

    def roots(self, *, name: str, namespace: str) -> ConfigMap:
        """The ConfigMap with the roots that this peer is trusted by."""
        data = {ROOT_KEY: self.root}
        metadata = _marked(root_config_map(name), namespace, peer=name, content={"data": data})
        return ConfigMap(metadata=metadata, data=data)


def _marked(name: str, namespace: str, *, peer: str, content: dict[str, Any]) -> ObjectMeta:
    return ObjectMeta(name=name, namespace=namespace, labels={LABEL: peer}, annotations={DIGEST: digest(content)})


def root_config_map(peer: str) -> str:
    """Name of the ConfigMap with a peer's roots."""
    return f"{peer}-ca-root-cert"


def address_problem(address: str) -> str | None:
    """Why a gateway of ours must not be made to connect there, as the end of a sentence; None if it may.

    Names are not resolved: where they lead is for the gateway to find, and what answers there has to prove itself.
    """
    try:
        return _ip_problem(ipaddress.ip_address(address))
    except ValueError:
        return _name_problem(address.lower())


def spelling_problem(address: str) -> str | None:
    """Why it is no address at all, as the end of a sentence; None if it is one, wherever it leads."""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        last = address.lower().rstrip(".").rpartition(".")[2]
        if len(address) > 253 or not _NAME.fullmatch(address.lower()) or _NUMERIC.fullmatch(last):
            return "is neither a DNS name nor an IP address"
    return None


def _name_problem(name: str) -> str | None:
    is_here = name.rstrip(".").rpartition(".")[2] == "localhost"
    return spelling_problem(name) or ("is this machine itself" if is_here else None)


def _ip_problem(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str | None:
    inner = getattr(address, "ipv4_mapped", None) or address
    if "%" in str(address):
        return "has a zone, which means nothing elsewhere"
    if inner.is_loopback or inner.is_unspecified:
        return "is this machine itself"
    if inner.is_link_local or inner.is_multicast or (inner.version == 4 and inner.is_reserved):
        return "is no address that a gateway can have (link-local, multicast or reserved)"
    return None


def _check_client(client: SpiffeId, trust_domain: TrustDomain, namespace: str) -> None:
    prefix, _, account = client.path.rpartition("/")
    if client.trust_domain != trust_domain or prefix != f"/ns/{namespace}/sa" or not account:
        raise InvalidIntroductionError(
            f"the clientID {client.without_scheme} is not of {trust_domain}/ns/{namespace}/sa/…: "
            "expected the egress gateway of that mesh"
        )
