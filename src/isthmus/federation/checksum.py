"""The checksums between meshes (docs/protocol.md §4), as Go's ``hashstructure`` computes them on the peer's side.

FNV-1 with 64 bits (multiply, then xor), never streamed from one value into the next. A list's checksum is an XOR over
its services with a last round on top, so whoever keeps the XOR pays one :func:`service_hash` for a change:
``list_checksum(xor ^ before ^ after)``. Order never matters, and equal elements cancel in pairs.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from isthmus.federation.messages import ServiceMessage, ServicePort

_BASIS: Final = 0xCBF29CE484222325
_PRIME: Final = 0x100000001B3
_MASK: Final = 0xFFFFFFFFFFFFFFFF


def fnv64(data: bytes, basis: int = _BASIS) -> int:
    """FNV-1 of ``data``; ``basis`` is the hash of what stands before it."""
    hashed = basis
    for byte in data:
        hashed = (hashed * _PRIME & _MASK) ^ byte
    return hashed


def _finish(value: int) -> int:
    """FIN: one more round over the value itself."""
    return fnv64(value.to_bytes(8, "little"))


def _string(text: str) -> int:
    return fnv64(text.encode())


# Names, namespaces, protocols and service accounts come back in every service; hostnames do not.
_repeated_string: Final = lru_cache(maxsize=4096)(_string)


class _Field:
    """A field of a hashed structure: ``ORD(H(name), value)``, with the half that never changes computed once."""

    __slots__ = ("_prefix",)

    def __init__(self, name: str) -> None:
        self._prefix = fnv64(_string(name).to_bytes(8, "little"))

    def into(self, structure: int, value: int) -> int:
        """The structure's hash after this field, whose own hash is ``value``."""
        return _finish(structure ^ fnv64(value.to_bytes(8, "little"), self._prefix))


_KEY: Final = _string("ServiceKey")
_PORT: Final = _string("ServicePort")
_SERVICE: Final = _string("ServiceMessage")
_LIST: Final = _string("ServiceListMessage")
_REMOTE: Final = _string("ServiceMeshPeerRemote")

_name: Final = _Field("Name")
_namespace: Final = _Field("Namespace")
_hostname: Final = _Field("Hostname")
_port: Final = _Field("Port")
_protocol: Final = _Field("Protocol")
_service_key: Final = _Field("ServiceKey")
_service_ports: Final = _Field("ServicePorts")
_service_accounts: Final = _Field("ServiceAccounts")
_services: Final = _Field("Services")
_addresses: Final = _Field("Addresses")
_discovery_port: Final = _Field("DiscoveryPort")
_service_port: Final = _Field("ServicePort")

NULL_HASH: Final = fnv64(bytes(8))
"""What a JSON ``null`` counts as an element of a list."""


def service_hash(service: ServiceMessage) -> int:
    """The share of one service in its list's XOR; ``health`` and ``locality`` have none."""
    hashed = _service_key.into(_SERVICE, _key_hash(service))
    hashed = _service_ports.into(hashed, _xor(map(port_hash, service.service_ports)))
    return _service_accounts.into(hashed, _xor(map(_repeated_string, service.service_accounts)))


def list_checksum(xor: int) -> int:
    """The checksum of a list whose services' hashes, XORed together, are ``xor`` (0 for the empty list)."""
    return _services.into(_LIST, _finish(xor))


@lru_cache(maxsize=4096)
def port_hash(port: ServicePort | None) -> int:
    """The share of one port in its service; ``port.port`` is hashed as 64 bits, two's complement."""
    if port is None:
        return NULL_HASH
    hashed = _name.into(_PORT, _string(port.name))
    hashed = _port.into(hashed, fnv64(port.port.to_bytes(8, "little", signed=True)))
    return _protocol.into(hashed, _string(port.protocol))


def remote_checksum(addresses: Iterable[str], *, discovery_port: int, service_port: int) -> int:
    """The checksum of a peer's ``spec.remote``, as header ``remote`` carries it to the own egress gateway.

    The ports are those written in the resource: 0 where it has none, not the default. They are hashed as 32 bits,
    unlike a service's.
    """
    hashed = _addresses.into(_REMOTE, _xor(map(_string, addresses)))
    hashed = _discovery_port.into(hashed, fnv64(discovery_port.to_bytes(4, "little", signed=True)))
    return _service_port.into(hashed, fnv64(service_port.to_bytes(4, "little", signed=True)))


def _key_hash(service: ServiceMessage) -> int:
    hashed = _name.into(_KEY, _repeated_string(service.name))
    hashed = _namespace.into(hashed, _repeated_string(service.namespace))
    return _hostname.into(hashed, _string(service.hostname))


def _xor(hashes: Iterable[int]) -> int:
    xor = 0
    for hashed in hashes:
        xor ^= hashed
    return xor
