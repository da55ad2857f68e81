"""The resources of a federation among the documents of some files. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import PurePath
from typing import Any

import msgspec
from lightkube.core.resource import api_info

from isthmus.api import (
    ExportedServiceSet,
    ImportedServiceSet,
    ServiceMeshControlPlane,
    ServiceMeshMemberRoll,
    ServiceMeshPeer,
)
from isthmus.api.crds import crds
from isthmus.api.schema import Schema
from isthmus.doctor.lint.findings import Finding, Place, Severity, meant
from isthmus.doctor.lint.nodes import Node, items
from isthmus.doctor.lint.schema import check

KINDS: dict[str, type[Any]] = {
    each.__name__: each
    for each in (
        ExportedServiceSet,
        ImportedServiceSet,
        ServiceMeshControlPlane,
        ServiceMeshMemberRoll,
        ServiceMeshPeer,
    )
}
CONFIG_MAP = "ConfigMap"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One resource. ``typed`` is None for a ConfigMap, and for a resource that its schema refuses."""

    kind: str
    name: str
    namespace: str
    node: Node
    typed: Any = None

    def where(self, *path: str | int) -> Place:
        """The place of a field, or of what is around it."""
        return self.node.where(*path)

    @property
    def folder(self) -> tuple[str, ...]:
        """The folder of its file, in parts."""
        return PurePath(self.node.place.file).parent.parts

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


def resources(documents: Iterable[Node]) -> tuple[list[Resource], list[Finding]]:
    """The resources in the documents, those of Lists too; everything else is passed over."""
    found: list[Resource] = []
    findings: list[Finding] = []
    for node in _singles(documents):
        kind = node.text("kind")
        findings += _envelope(node, kind)
        if kind == CONFIG_MAP or kind in KINDS:
            resource, more = _resource(node, kind)
            findings += more
            found.append(resource)
    return _with_namespaces(found), findings


def _singles(documents: Iterable[Node]) -> Iterator[Node]:
    for node in documents:
        if node.text("kind").endswith("List") and isinstance(node.at("items"), Node):
            yield from items(node.at("items"))
        else:
            yield node


def _envelope(node: Node, kind: str) -> Iterator[Finding]:
    """Whether the kind and its version are ours, if they look like it."""
    version = node.text("apiVersion")
    if kind in KINDS and version != _version(kind):
        message = f"{kind} of apiVersion {version or '(none)'}: expected {_version(kind)}"
        yield Finding(node.where("apiVersion"), Severity.ERROR, "WrongVersion", message, "correct it")
    elif kind not in KINDS and version.partition("/")[0] == "federation.maistra.io":
        message = f"unknown kind {kind or '(none)'} of {version}{meant(kind, KINDS)}"
        yield Finding(node.where("kind"), Severity.ERROR, "UnknownKind", message, "correct it")


def _version(kind: str) -> str:
    definition = api_info(KINDS[kind]).resource
    return f"{definition.group}/{definition.version}"


def _resource(node: Node, kind: str) -> tuple[Resource, list[Finding]]:
    bare = Resource(
        kind=kind, name=node.text("metadata", "name"), namespace=node.text("metadata", "namespace"), node=node
    )
    if kind == CONFIG_MAP:
        return bare, []
    findings = list(check(node, _schemas()[kind]))
    if not bare.name:
        findings.append(
            Finding(
                node.where("metadata"), Severity.ERROR, "MissingField", f"{kind}: metadata.name is missing", "add it"
            )
        )
    wrong = any(finding.severity is Severity.ERROR and finding.code != "UnknownField" for finding in findings)
    return (bare, findings) if wrong else (_typed(bare), findings)


def _typed(resource: Resource) -> Resource:
    """The resource as its type; what cannot be converted was told by its schema, or is in its metadata."""
    kind = KINDS[resource.kind]
    plain = {name: value.plain() for name, value in resource.node.value.items() if name == "spec"}
    metadata = {"name": resource.name, "namespace": resource.namespace}
    try:
        return replace(resource, typed=msgspec.convert({**plain, "metadata": metadata}, kind))
    except msgspec.ValidationError:
        return resource


@cache
def _schemas() -> dict[str, Schema]:
    """The schema of each kind, as its CustomResourceDefinition has it."""
    return {each["spec"]["names"]["kind"]: each["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for each in crds()}


def _with_namespaces(found: list[Resource]) -> list[Resource]:
    """A resource without a namespace is taken to be of the control plane in its folder, if that is the only one."""
    by_folder: dict[tuple[str, ...], set[str]] = {}
    for each in found:
        if each.kind == "ServiceMeshControlPlane" and each.namespace:
            by_folder.setdefault(each.folder, set()).add(each.namespace)
    return [
        each
        if each.namespace
        else replace(each, namespace=next(iter(by_folder[each.folder]), ""))
        if len(by_folder.get(each.folder, ())) == 1
        else each
        for each in found
    ]
