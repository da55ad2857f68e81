"""Which namespaces belong to the mesh, and so may have something to export. Source: docs/reference.md §6."""

from dataclasses import dataclass

from isthmus.api import ServiceMeshMemberRoll
from isthmus.api.members import EVERY_NAMESPACE


@dataclass(frozen=True, slots=True)
class Members:
    """The namespaces of a mesh; ``namespaces`` is None where all belong to it."""

    namespaces: frozenset[str] | None = None

    @classmethod
    def of(cls, roll: ServiceMeshMemberRoll | None, *, system_namespace: str) -> "Members":
        """Those that the roll names, and the control plane's; all if there is no roll."""
        named = None if roll is None else frozenset(roll.spec.members or ())
        if named is None or EVERY_NAMESPACE in named:
            return cls()
        return cls(named | {system_namespace})

    def include(self, namespace: str) -> bool:
        """Whether the namespace belongs to the mesh."""
        return self.namespaces is None or namespace in self.namespaces
