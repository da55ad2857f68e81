"""Which namespaces belong to the mesh, and so may have something to export. Source: docs/reference.md §6."""

from collections.abc import Mapping
from dataclasses import dataclass

from isthmus.api import ServiceMeshMemberRoll
from isthmus.api.members import EVERY_NAMESPACE
from isthmus.api.selectors import LabelSelector
from isthmus.federation.selection import labels_match, selector_error


@dataclass(frozen=True, slots=True)
class Members:
    """The namespaces of a mesh: those named and those selected; ``namespaces`` is None where all belong to it."""

    namespaces: frozenset[str] | None = None
    selectors: tuple[LabelSelector, ...] = ()

    @classmethod
    def of(cls, roll: ServiceMeshMemberRoll | None, *, system_namespace: str) -> "Members":
        """Those that the roll names or selects, and the control plane's; all if there is no roll.

        A selector that cannot be used selects none.
        """
        named = None if roll is None else frozenset(roll.spec.members or ())
        if named is None or EVERY_NAMESPACE in named:
            return cls()
        selectors = (roll.spec.member_selectors or ()) if roll is not None else ()
        return cls(named | {system_namespace}, tuple(each for each in selectors if not selector_error(each)))

    def include(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """Whether the namespace, which has these labels, belongs to the mesh."""
        if self.namespaces is None or namespace in self.namespaces:
            return True
        return any(labels_match(each, labels) for each in self.selectors)
