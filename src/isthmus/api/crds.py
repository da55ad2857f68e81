"""The CustomResourceDefinitions of the five kinds, generated from their types (``apiextensions.k8s.io/v1``)."""

from dataclasses import dataclass
from typing import Any

import msgspec
from lightkube.core.resource import ApiInfo

from isthmus.api.controlplane import ServiceMeshControlPlane
from isthmus.api.exports import ExportedServiceSet
from isthmus.api.imports import ImportedServiceSet
from isthmus.api.members import ServiceMeshMemberRoll
from isthmus.api.meta import Envelope
from isthmus.api.peer import ServiceMeshPeer
from isthmus.api.schema import Schema, schema_of

CATEGORY = "maistra-io"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column that ``kubectl get`` shows. ``path`` is a simple JSONPath; ``priority`` above 0 needs ``-o wide``."""

    name: str
    path: str
    description: str = ""
    type: str = "string"
    priority: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """What the type of a kind does not say, but its CustomResourceDefinition must."""

    resource: type[Envelope]
    short_name: str
    columns: tuple[Column, ...]
    keep_unknown: bool = False

    @property
    def info(self) -> ApiInfo:
        """Group, version, kind and plural."""
        info: ApiInfo = self.resource._api_info  # type: ignore[attr-defined]  # noqa: SLF001 -- lightkube's convention
        return info


_AGE = Column(name="Age", path=".metadata.creationTimestamp", type="date")


def _condition(name: str, type_: str, field: str, description: str, *, priority: int = 0) -> Column:
    """A column with a field of the condition of that type."""
    path = f'.status.conditions[?(@.type=="{type_}")].{field}'
    return Column(name=name, path=path, description=description, priority=priority)


_REASON = _condition("Status", "Ready", "reason", "Why it is ready or not")
_MESSAGE = _condition("Message", "Ready", "message", "Why it is ready or not, in words", priority=1)
_ACCEPTED = (
    _condition("Accepted", "Accepted", "status", "Whether all that it says is carried out"),
    _condition("Reason", "Accepted", "reason", "Why, or why not"),
)
_ACCEPTED_MESSAGE = _condition("Message", "Accepted", "message", "Why, or why not, in words", priority=1)


def _count(name: str, field: str, description: str) -> Column:
    return Column(name=name, path=f".status.{field}", description=description, type="integer")


DEFINITIONS = (
    Definition(
        resource=ServiceMeshPeer,
        short_name="smp",
        columns=(
            _condition("Ready", "Ready", "status", "Whether the link stands in both directions"),
            _condition("Reason", "Ready", "reason", "Why, or why not"),
            _count("Exports", "exports", "How many Services are exported to the peer"),
            _count("Imports", "imports", "How many Services of the peer are imported"),
            Column(
                name="Last Sync",
                path=".status.discoveryStatus.active[*].watch.lastFullSync",
                description="When the peer's whole list was last received",
                type="date",
            ),
            _AGE,
            Column(name="Remote", path=".spec.remote.addresses[0]", description="Where the peer is", priority=1),
            Column(name="Client ID", path=".spec.security.clientID", description="Who may call us", priority=1),
            _MESSAGE,
        ),
    ),
    Definition(
        resource=ExportedServiceSet,
        short_name="ess",
        columns=(
            *_ACCEPTED,
            _count("Exported", "exported", "How many Services are exported"),
            _AGE,
            _ACCEPTED_MESSAGE,
        ),
    ),
    Definition(
        resource=ImportedServiceSet,
        short_name="iss",
        columns=(
            *_ACCEPTED,
            _condition("Up To Date", "UpToDate", "status", "Whether it is as the peer has it now"),
            _count("Imported", "imported", "How many Services are imported"),
            _count("Offered", "offered", "How many Services the peer exports"),
            _AGE,
            _ACCEPTED_MESSAGE,
        ),
    ),
    Definition(
        resource=ServiceMeshControlPlane,
        short_name="smcp",
        keep_unknown=True,
        columns=(
            Column(
                name="Ready",
                path=".status.annotations.readyComponentCount",
                description="How many of the components are ready",
            ),
            _REASON,
            Column(name="Trust Domain", path=".spec.security.trust.domain", description="Who the mesh is"),
            _AGE,
            _MESSAGE,
        ),
    ),
    Definition(
        resource=ServiceMeshMemberRoll,
        short_name="smmr",
        keep_unknown=True,
        columns=(
            Column(name="Members", path=".spec.members", description="The namespaces that belong to the mesh"),
            _AGE,
        ),
    ),
)


def crds() -> list[Schema]:
    """Generate all CustomResourceDefinitions, sorted by kind as they are listed above."""
    return [crd(definition) for definition in DEFINITIONS]


def crd(definition: Definition) -> Schema:
    """Generate the CustomResourceDefinition of one kind."""
    resource, plural = definition.info.resource, definition.info.plural
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{resource.group}"},
        "spec": {
            "group": resource.group,
            "names": {
                "categories": [CATEGORY],
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": plural,
                "shortNames": [definition.short_name],
                "singular": resource.kind.lower(),
            },
            "scope": "Namespaced",
            "versions": [_version(definition)],
        },
    }


def _version(definition: Definition) -> Schema:
    return {
        "name": definition.info.resource.version,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [_column(column) for column in definition.columns],
        "schema": {"openAPIV3Schema": _object_schema(definition)},
        "subresources": {"status": {}},
    }


def _column(column: Column) -> Schema:
    optional: dict[str, Any] = {"description": column.description, "priority": column.priority}
    return {
        "name": column.name,
        "type": column.type,
        "jsonPath": column.path,
        **{name: value for name, value in optional.items() if value},
    }


def _object_schema(definition: Definition) -> Schema:
    """The schema of the whole object; of the metadata a CRD may say nothing but that it is an object."""
    fields = {field.name: field for field in msgspec.structs.fields(definition.resource)}
    required = {"required": ["spec"]} if fields["spec"].required else {}
    return {
        "type": "object",
        "description": " ".join((definition.resource.__doc__ or "").split()),
        **required,
        "properties": {
            "apiVersion": {"type": "string", "description": "Group and version of the API."},
            "kind": {"type": "string", "description": "The kind of this object."},
            "metadata": {"type": "object"},
            "spec": schema_of(fields["spec"].type, keep_unknown=definition.keep_unknown),
            "status": schema_of(fields["status"].type, keep_unknown=definition.keep_unknown),
        },
    }
