"""How rules name Services: by name or by labels, under an alias or as they are.

An empty value or ``*`` matches anything in a selector, and means "keep the original" in an alias; ``*`` is a wildcard
for the whole value only.
"""

from typing import Annotated, Literal

from msgspec import Meta

from isthmus.api.meta import Part

_NAME = Meta(pattern=r"^(\*|[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?$", max_length=63)

Selected = Annotated[str, _NAME, Meta(description="What it must be called; empty or * for any.")]
Kept = Annotated[str, _NAME, Meta(description="What it is to be called; empty or * to keep the original.")]


class Alias(Part, frozen=True, kw_only=True):
    """The name to give to a Service on the other side."""

    namespace: Kept = ""
    name: Kept = ""


class NameSelector(Part, frozen=True, kw_only=True):
    """Selects Services by namespace and name."""

    namespace: Annotated[Selected, Meta(description="The namespace of the Service; empty or * for any.")] = ""
    name: Annotated[Selected, Meta(description="The name of the Service; empty or * for any.")] = ""
    alias: Annotated[Alias | None, Meta(description="The name on the other side, if it is to be another.")] = None


class LabelRequirement(Part, frozen=True, kw_only=True):
    """One requirement on a label."""

    key: Annotated[str, Meta(description="The label.", min_length=1)]
    operator: Annotated[
        Literal["In", "NotIn", "Exists", "DoesNotExist"], Meta(description="How the label relates to the values.")
    ]
    values: Annotated[
        tuple[str, ...] | None,
        Meta(
            description="The values, for In and NotIn.",
            extra_json_schema={"x-kubernetes-list-type": "atomic"},
        ),
    ] = None


class LabelSelector(Part, frozen=True, kw_only=True):
    """A Kubernetes label selector: all requirements must hold; without any, it selects everything."""

    match_labels: Annotated[dict[str, str] | None, Meta(description="Labels with the values they must have.")] = None
    match_expressions: Annotated[
        tuple[LabelRequirement, ...] | None,
        Meta(
            description="Further requirements on labels.",
            extra_json_schema={"x-kubernetes-list-type": "atomic"},
        ),
    ] = None


class LabelledServices(Part, frozen=True, kw_only=True):
    """Selects Services by their labels."""

    namespace: Annotated[Selected, Meta(description="The namespace of the Services; empty or * for any.")] = ""
    selector: Annotated[LabelSelector | None, Meta(description="The labels; left out or empty, any Service.")] = None
    aliases: Annotated[
        tuple[NameSelector, ...],
        Meta(
            description="Other names for some of the Services; the first that matches is used.",
            extra_json_schema={"x-kubernetes-list-type": "atomic"},
        ),
    ] = ()


class LocalService(Part, frozen=True, kw_only=True):
    """A Service as this mesh knows it; empty if there is none."""

    name: Annotated[str, Meta(description="Name of the Service.")] = ""
    namespace: Annotated[str, Meta(description="Namespace of the Service.")] = ""
    hostname: Annotated[str, Meta(description="The name under which clients of this mesh reach it.")] = ""


class ServiceMapping(Part, frozen=True, kw_only=True):
    """What a Service is called between the meshes, and what it is called here."""

    exported_name: Annotated[str, Meta(description="The name between the meshes.")]
    local_service: Annotated[LocalService, Meta(description="The Service in this mesh.")]


ServiceMappings = Annotated[
    tuple[ServiceMapping, ...] | None,
    Meta(extra_json_schema={"x-kubernetes-list-type": "atomic"}),
]
