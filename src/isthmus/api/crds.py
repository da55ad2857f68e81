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
_REASON = Column(
    name="Status",
    path='.status.conditions[?(@.type=="Ready")].reason',
    description="Why it is ready or not",
)
_MESSAGE = Column(
    name="Message",
    path='.status.conditions[?(@.type=="Ready")].message',
    description="Why it is ready or not, in words",
    priority=1,
)

DEFINITIONS = (
    Definition(
        resource=ServiceMeshPeer,
        short_name="smp",
        columns=(
            Column(name="Remote", path=".spec.remote.addresses[0]", description="Where the peer is reached"),
            Column(name="Trust Domain", path=".spec.security.trustDomain", description="Who the peer is"),
            Column(
                name="Active",
                path=".status.discoveryStatus.active[*].pod",
                description="The first control-plane pod whose watch of the peer stands",
            ),
            Column(
                name="Inactive",
                path=".status.discoveryStatus.inactive[*].watch.lastDisconnectStatus",
                description="Why a control-plane pod's watch of the peer does not stand",
            ),
            _AGE,
            Column(name="Client ID", path=".spec.security.clientID", description="Who may call us", priority=1),
        ),
    ),
    Definition(
        resource=ExportedServiceSet,
        short_name="ess",
        columns=(
            Column(
                name="Exported",
                path=".status.exportedServices[*].exportedName",
                description="The first of the exported Services",
            ),
            _AGE,
        ),
    ),
    Definition(
        resource=ImportedServiceSet,
        short_name="iss",
        columns=(
            Column(
                name="Offered",
                path=".status.importedServices[*].exportedName",
                description="The first of the Services that the peer exports",
            ),
            Column(
                name="Imported As",
                path=".status.importedServices[*].localService.hostname",
                description="The name of the first that is imported",
            ),
            _AGE,
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
