"""What does not match between a peer and what it describes: our own gateways, and the other mesh. Pure."""

from collections.abc import Iterable, Iterator, Sequence

from isthmus.api.peer import DISCOVERY_PORT, SERVICE_PORT
from isthmus.doctor.lint.control_planes import SECTIONS, gateways, reachable_ports
from isthmus.doctor.lint.findings import Finding, Severity, meant
from isthmus.doctor.lint.meshes import Mesh, Pair

_GATEWAYS = ("spec", "gateways")
_SECURITY = ("spec", "security")
_REMOTE = ("spec", "remote")


def peer_findings(pairs: Sequence[Pair]) -> Iterator[Finding]:
    """Everything that is wrong with the peers: each alone, with its mesh, with its other side, and with the others."""
    for pair in pairs:
        yield from _own_domain(pair)
        yield from _own_gateways(pair)
        if pair.other is None:
            yield from _alone(pair)
        else:
            yield from _other_side(pair, pair.other)
    yield from _same_client(pairs)
    yield from _both_ways(pairs)


def _error(pair: Pair, path: Iterable[str | int], code: str, message: str, fix: str = "") -> Finding:
    return Finding(pair.peer.where(*path), Severity.ERROR, code, message, fix or "correct it")


def _own_domain(pair: Pair) -> Iterator[Finding]:
    security = pair.spec.spec.security
    if security.client_id.partition("/")[0] != security.trust_domain:
        message = (
            f"clientID {security.client_id} is not of trust domain {security.trust_domain}: no root vouches for it"
        )
        yield _error(pair, (*_SECURITY, "clientID"), "ClientOutsideTrustDomain", message, "correct one of the two")


def _own_gateways(pair: Pair) -> Iterator[Finding]:
    if pair.mesh.typed is None:
        return
    for role in SECTIONS:
        name = _gateway_name(pair, role)
        there = gateways(pair.mesh, role)
        path = (*_GATEWAYS, role, "name")
        if name not in there:
            message = f"{pair.mesh.control_plane} has no {role} gateway {name}{meant(name, there)}"
            yield _error(pair, path, "GatewayNotFound", message, f"add it to {SECTIONS[role]}, or correct the name")
        elif not there[name].enabled:
            message = f"{role} gateway {name} of {pair.mesh.control_plane} is not enabled"
            yield _error(pair, path, "GatewayDisabled", message, "enable it, or name another one")


def _gateway_name(pair: Pair, role: str) -> str:
    spec = pair.spec.spec.gateways
    return (spec.ingress if role == "ingress" else spec.egress).name


def _alone(pair: Pair) -> Iterator[Finding]:
    message = f"no mesh among the files is the one that {pair.peer} stands for: it is not checked against it"
    yield Finding(pair.peer.node.place, Severity.INFO, "OtherSideMissing", message, "give the files of that mesh too")


def _other_side(pair: Pair, other: Mesh) -> Iterator[Finding]:
    security = pair.spec.spec.security
    if other.trust_domain and security.trust_domain != other.trust_domain:
        message = f"trustDomain {security.trust_domain}, but that of {other.name} is {other.trust_domain}"
        yield _error(pair, (*_SECURITY, "trustDomain"), "WrongTrustDomain", message)
    if pair.back is None:
        yield from _one_sided(pair, other)
        return
    yield from _client(pair, other, pair.back.spec.gateways.egress.name)
    yield from _remote(pair, other, pair.back.spec.gateways.ingress.name)


def _one_sided(pair: Pair, other: Mesh) -> Iterator[Finding]:
    if pair.mesh.control_plane is not None:
        message = f"{other.name} has no ServiceMeshPeer for {pair.mesh.name}: it lets nobody of it in"
        yield _error(pair, ("metadata", "name"), "OneSided", message, f"add one to namespace {other.namespace}")


def _client(pair: Pair, other: Mesh, egress: str) -> Iterator[Finding]:
    found = pair.spec.spec.security.client_id
    expected = f"{other.trust_domain}/ns/{other.namespace}/sa/{egress}-service-account"
    if other.trust_domain and found != expected:
        message = f"clientID {found}, but {other.name} calls us through gateway {egress}, as {expected}"
        yield _error(pair, (*_SECURITY, "clientID"), "WrongClient", message, f"set it to {expected}")


def _remote(pair: Pair, other: Mesh, ingress: str) -> Iterator[Finding]:
    remote = pair.spec.spec.remote
    gateway = gateways(other, "ingress").get(ingress)
    wanted = (
        ("discoveryPort", remote.effective_discovery_port, DISCOVERY_PORT),
        ("servicePort", remote.effective_service_port, SERVICE_PORT),
    )
    for field, number, target in wanted if gateway is not None else ():
        ports = reachable_ports(gateway, target) if gateway else set()
        if ports and number not in ports:
            listed = " or ".join(map(str, sorted(ports)))
            message = f"{field} {number}, but ingress gateway {ingress} of {other.name} is reached by {listed}"
            yield _error(pair, (*_REMOTE, field), "WrongPort", message, f"set it to {listed}")
    yield from _addresses(pair, other, ingress)


def _addresses(pair: Pair, other: Mesh, ingress: str) -> Iterator[Finding]:
    """A name that begins as the Service of another gateway of that mesh leads to that one."""
    for index, address in enumerate(pair.spec.spec.remote.addresses):
        gateway, namespace, *_ = (*address.split("."), "", "")
        if namespace == other.namespace and gateway != ingress and gateway in gateways(other, "ingress"):
            message = f"{address} is ingress gateway {gateway} of {other.name}, which is not for us: that is {ingress}"
            yield _error(pair, (*_REMOTE, "addresses", index), "WrongGateway", message)


def _same_client(pairs: Sequence[Pair]) -> Iterator[Finding]:
    seen: dict[tuple[int, str], Pair] = {}
    for pair in pairs:
        key = (id(pair.mesh), pair.spec.spec.security.client_id)
        first = seen.setdefault(key, pair)
        if first is not pair:
            message = f"clientID {key[1]} is that of {first.peer} too: they cannot be told apart"
            yield _error(pair, (*_SECURITY, "clientID"), "ClientTwice", message, "correct or delete one of them")


def _both_ways(pairs: Sequence[Pair]) -> Iterator[Finding]:
    ingresses = {(id(pair.mesh), _gateway_name(pair, "ingress")): pair for pair in pairs}
    for pair in pairs:
        name = _gateway_name(pair, "egress")
        if (taken := ingresses.get((id(pair.mesh), name))) is not None:
            message = f"gateway {name} is the egress here and the ingress of {taken.peer}: it cannot be both"
            yield _error(pair, (*_GATEWAYS, "egress", "name"), "GatewayTwice", message, "use two gateways")
