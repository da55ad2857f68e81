"""``ServiceMeshMemberRoll``: which namespaces belong to the mesh."""

from typing import Annotated, ClassVar

from lightkube.core.resource import NamespacedResourceG, NamespacedSubResource
from msgspec import Meta

from isthmus.api.meta import Conditions, Envelope, ObservedGeneration, Part, api_info, status_info
from isthmus.api.selectors import LabelSelector

NAME = "default"
"""The only name that counts."""
EVERY_NAMESPACE = "*"

Member = Annotated[str, Meta(pattern=r"^(\*|[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)$", min_length=1, max_length=63)]


class MembersSpec(Part, frozen=True, kw_only=True):
    """Which namespaces belong to the mesh."""

    members: Annotated[
        tuple[Member, ...] | None,
        Meta(
            description="Names of namespaces, whether they exist or not; * for all. The control plane's own namespace "
            "always belongs to the mesh. None: no other does.",
            extra_json_schema={"x-kubernetes-list-type": "atomic", "maxItems": 10_000},
        ),
    ] = None
    member_selectors: Annotated[
        tuple[LabelSelector, ...] | None,
        Meta(
            description="Labels of namespaces: one that any of these selects belongs to the mesh as if it were named.",
            extra_json_schema={"x-kubernetes-list-type": "atomic", "maxItems": 1_000},
        ),
    ] = None


class MembersStatus(Part, frozen=True, kw_only=True):
    """What an operator of Service Mesh says of the members. Isthmus reads and writes none of it."""

    conditions: Conditions = ()
    observed_generation: ObservedGeneration = None


class MembersModel(Envelope, frozen=True, kw_only=True):
    """The fields of the kind, whichever way it is served."""

    spec: MembersSpec = MembersSpec()
    status: MembersStatus | None = None


_INFO = api_info("maistra.io", "v1", "ServiceMeshMemberRoll", plural="servicemeshmemberrolls")


class ServiceMeshMemberRollStatusView(NamespacedSubResource, MembersModel, frozen=True, kw_only=True):
    """The ``status`` subresource of a ServiceMeshMemberRoll."""

    _api_info = status_info(_INFO)


class ServiceMeshMemberRoll(NamespacedResourceG, MembersModel, frozen=True, kw_only=True):
    """The namespaces that belong to a mesh: one named default, in the control plane's namespace. Without it all do."""

    _api_info = _INFO
    Status: ClassVar = ServiceMeshMemberRollStatusView
