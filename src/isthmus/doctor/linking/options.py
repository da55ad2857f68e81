"""What the administrator may choose about a link."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from isthmus.doctor.linking.errors import LinkError

ServiceType = Literal["LoadBalancer", "NodePort"]

_ADDRESS = re.compile(r"[A-Za-z0-9._:-]{1,253}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """``addresses``: of a mesh's ingress gateways, by the mesh and the peer they are for (empty: for all peers).

    ``service_type``: how ingress gateways are reached; None keeps what there is, and makes new ones LoadBalancers.
    """

    addresses: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    service_type: ServiceType | None = None

    def given(self, mesh: str, peer: str) -> tuple[str, ...]:
        """The addresses that were given for the ingress of ``mesh`` that is for ``peer``; empty if none were."""
        return self.addresses.get((mesh, peer)) or self.addresses.get((mesh, ""), ())


def parse_addresses(given: Iterable[str], meshes: Iterable[str]) -> dict[tuple[str, str], tuple[str, ...]]:
    """Read ``MESH=ADDRESS`` and ``MESH/PEER=ADDRESS``; several for one mesh add up.

    Raises LinkError: one has another form, or names a mesh that is not among ``meshes``.
    """
    known = set(meshes)
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    problems = []
    for text in given:
        whose, equals, address = text.partition("=")
        mesh, slash, peer = whose.partition("/")
        if not equals or not _ADDRESS.fullmatch(address) or (slash and not peer):
            problems.append(f"address {text!r}: expected MESH=ADDRESS or MESH/PEER=ADDRESS, without a port")
        elif unknown := {mesh, *filter(None, [peer])} - known:
            listed = ", ".join(sorted(known))
            problems.append(f"address {text!r}: {', '.join(sorted(unknown))} is none of the meshes {listed}")
        else:
            found[mesh, peer] = (*found.get((mesh, peer), ()), address)
    if problems:
        raise LinkError(problems)
    return found
