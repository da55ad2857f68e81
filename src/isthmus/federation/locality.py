"""Where the endpoints of an import count as being, in the words of Kubernetes' topology-aware routing.

Kubernetes prefers endpoints with a hint for the zone of the caller's node, and takes all where there is none. An import
has the hint of its own zone; or, if only its region is known, one of the region's name, which no node has for a zone:
it is then called where no endpoint of the caller's zone is ready. Source: docs/reference.md §5; Kubernetes
documentation, "Topology Aware Routing".
"""

import re
from dataclasses import dataclass
from typing import Final, Protocol

from isthmus.federation.selection import Problem

_LABEL_VALUE: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


class Locality(Protocol):
    """Region, zone and subzone, as an ImportedServiceSet or a peer's message gives them; empty: unknown."""

    @property
    def region(self) -> str: ...
    @property
    def zone(self) -> str: ...
    @property
    def subzone(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Place:
    """The zone of endpoints and the zone that they are meant for; both empty where nothing is known."""

    zone: str = ""
    hint: str = ""


def place(chosen: Locality | None, told: Locality | None) -> Place:
    """Where an import is: where the importer says, else where the peer says, as far as that can be used."""
    for each in (chosen, told):
        if each is not None and each.region and not locality_error(each):
            return Place(each.zone, each.zone or each.region)
    return Place()


def locality_error(locality: Locality) -> str:
    """Why a locality cannot be used, and what to do; empty if it can."""
    if locality.zone and not locality.region:
        return f"zone {locality.zone!r} has no region: give it one"
    if locality.subzone and not locality.zone:
        return f"subzone {locality.subzone!r} has no zone: give it one"
    for each in (locality.region, locality.zone, locality.subzone):
        if each and not _LABEL_VALUE.fullmatch(each):
            return f"{each[:80]!r} is no name of a region or zone: use letters, digits, '-', '_' and '.', at most 63"
    return ""


def locality_problems(locality: Locality | None) -> tuple[Problem, ...]:
    """What is wrong with the locality of an ImportedServiceSet."""
    error = locality_error(locality) if locality is not None else ""
    return (Problem(0, "InvalidLocality", f"spec.locality is not used: {error}"),) if error else ()
