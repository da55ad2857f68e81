"""What every resource of ours has in common: the envelope, the parts, conditions.

A resource is a frozen msgspec Struct that lightkube encodes and decodes natively. Python names are snake_case, the wire
is camelCase. Values equal to their default are left out of the wire, unknown fields of the wire are ignored: nothing
here may be used to write back a ``spec`` (Kubernetes API conventions, "Objects" and "Typical status properties").
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from lightkube.core.resource import ApiInfo, ResourceDef
from lightkube.models.meta_v1 import ObjectMeta
from msgspec import Meta

DNS_LABEL = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
"""RFC 1123 label: the name of a namespace, of a Service."""

Generation = Annotated[int, Meta(ge=0, extra_json_schema={"format": "int64"})]

VERBS = ["delete", "deletecollection", "get", "global_list", "global_watch", "list", "patch", "post", "put", "watch"]


class Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A value inside a resource."""


class Envelope(Part, frozen=True, kw_only=True):
    """``apiVersion``, ``kind`` and ``metadata``; the first two are filled in from the class."""

    apiVersion: str | None = None  # noqa: N815 -- lightkube reads and writes it under this name
    kind: str | None = None
    metadata: ObjectMeta

    def __post_init__(self) -> None:
        """Fill in what the class knows, so that it is always on the wire."""
        definition: ResourceDef = self._api_info.resource  # type: ignore[attr-defined]  # set by each concrete kind
        msgspec.structs.force_setattr(self, "apiVersion", definition.api_version)
        msgspec.structs.force_setattr(self, "kind", definition.kind)


class Condition(Part, frozen=True, kw_only=True):
    """One observation about the resource, as the Kubernetes API conventions have it."""

    type: Annotated[str, Meta(description="What the observation is about, in CamelCase.", min_length=1)]
    status: Annotated[Literal["True", "False", "Unknown"], Meta(description="Whether it holds.")]
    reason: Annotated[str, Meta(description="Why, as one CamelCase word for programs.")] = ""
    message: Annotated[str, Meta(description="Why, as a sentence for people.")] = ""
    last_transition_time: Annotated[datetime | None, Meta(description="When the status last changed, in UTC.")] = None
    observed_generation: Annotated[Generation | None, Meta(description="The metadata.generation looked at.")] = None


Conditions = Annotated[
    tuple[Condition, ...],
    Meta(
        description="Observations about the resource, one of each type.",
        extra_json_schema={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    ),
]

Count = Annotated[int, Meta(ge=0, extra_json_schema={"format": "int64"})]

ObservedGeneration = Annotated[
    Generation | None, Meta(description="The metadata.generation that this status was made from.")
]


def api_info(group: str, version: str, kind: str, *, plural: str) -> ApiInfo:
    """Say to lightkube where a namespaced kind is served."""
    return ApiInfo(resource=ResourceDef(group, version, kind), plural=plural, verbs=VERBS)


def status_info(parent: ApiInfo) -> ApiInfo:
    """Say to lightkube where the status of ``parent`` is served."""
    return ApiInfo(
        resource=parent.resource,
        parent=parent.resource,
        plural=parent.plural,
        verbs=["get", "patch", "put"],
        action="status",
    )


def condition(conditions: Sequence[Condition], type_: str) -> Condition | None:
    """Find the condition of the type, or None."""
    return next((each for each in conditions if each.type == type_), None)
