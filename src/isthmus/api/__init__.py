"""The Kubernetes resources of a federation as typed values, and the CRDs generated from them.

Belongs here: one frozen msgspec Struct per kind of ``federation.maistra.io`` and ``maistra.io``, their defaults, and
the function that turns a type into its CustomResourceDefinition. Must not: decide anything, do I/O.
Everybody above may import it.
"""

from isthmus.api.controlplane import ServiceMeshControlPlane
from isthmus.api.exports import ExportedServiceSet
from isthmus.api.imports import ImportedServiceSet
from isthmus.api.members import ServiceMeshMemberRoll
from isthmus.api.meta import Condition
from isthmus.api.peer import ServiceMeshPeer

__all__ = [
    "Condition",
    "ExportedServiceSet",
    "ImportedServiceSet",
    "ServiceMeshControlPlane",
    "ServiceMeshMemberRoll",
    "ServiceMeshPeer",
]
