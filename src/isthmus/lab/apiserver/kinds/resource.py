"""One served resource: a kind in one version, under one plural name. Pure.

Source: Kubernetes API reference, APIResource; apiextensions.k8s.io/v1 for what custom kinds add.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from isthmus.lab.apiserver.errors import FieldError
from isthmus.lab.apiserver.objects import Object

Cell = Callable[[Mapping[str, Any], datetime], Any]
"""A column's value for an object at a moment."""

Schema = Mapping[str, Any]
"""A structural OpenAPI v3 schema."""

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


def version_path(group: str, version: str) -> str:
    """Where a version of a group is served, without the slash before it."""
    return f"apis/{group}/{version}" if group else f"api/{version}"


class GroupVersionKind(NamedTuple):
    """A kind in one version."""

    group: str
    version: str
    kind: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a kind's Table. ``priority`` above 0 is shown by ``-o wide`` only."""

    name: str
    cell: Cell
    type: str = "string"
    format: str = ""
    description: str = ""
    priority: int = 0

    def definition(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        }


@dataclass(frozen=True, slots=True)
class Scale:
    """Where a kind keeps its replicas: dotted paths without the leading dot."""

    spec_path: str = "spec.replicas"
    status_path: str = "status.replicas"
    selector_path: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """What makes a kind another form of objects that are stored as another kind's.

    ``of`` is that kind's ``plural.group``; ``show`` and ``store`` turn a stored object into this kind's form and back;
    ``paths`` are the dotted paths that selectors name otherwise here than in what is stored. ``check`` says what of a
    change (the new object, the old one) is not for this kind to make, if not all is (None).
    """

    of: str
    show: Callable[[Object], Object]
    store: Callable[[Object], Object]
    paths: Mapping[str, str] = field(default_factory=dict)
    check: Callable[[Object, Object], list[FieldError]] | None = None


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind as it is served in one version."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: frozenset[str] = frozenset()
    verbs: tuple[str, ...] = ALL_VERBS
    columns: tuple[Column, ...] = ()
    selectable: tuple[str, ...] = ()
    name_rule: str = "subdomain"
    list_kind: str = ""
    storage_version: str = ""
    scale: Scale | None = None
    schema: Schema | None = field(default=None, compare=False)
    custom: bool = False
    deprecation: str = ""  # what clients of this version are warned of
    keeps_generation: bool = False
    kept: bool = True  # False: a question or a request, which is answered at once
    answered_by: str = ""  # the kind that its creation is answered with ("" = its own)
    view: View | None = field(default=None, compare=False)  # None: its objects are stored as they are

    @property
    def gvk(self) -> GroupVersionKind:
        return GroupVersionKind(self.group, self.version, self.kind)

    @property
    def created_kind(self) -> GroupVersionKind:
        """The kind that its creation is answered with."""
        return self.gvk._replace(kind=self.answered_by or self.kind)

    @property
    def api_version(self) -> str:
        return self.gvk.api_version

    @property
    def group_resource(self) -> str:
        """``plural`` or ``plural.group``, as messages name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def storage(self) -> str:
        """The key of its objects in the store."""
        return self.view.of if self.view else self.group_resource

    @property
    def group_kind(self) -> str:
        return f"{self.kind}.{self.group}" if self.group else self.kind

    @property
    def stored_api_version(self) -> str:
        version = self.storage_version or self.version
        return f"{self.group}/{version}" if self.group else version

    @property
    def list_name(self) -> str:
        return self.list_kind or f"{self.kind}List"

    @property
    def supported_fields(self) -> tuple[str, ...]:
        return ("metadata.name", *(("metadata.namespace",) if self.namespaced else ()), *self.selectable)

    @property
    def has_status(self) -> bool:
        return "status" in self.subresources
