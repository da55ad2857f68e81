"""OpenAPI v2, as far as clients still need it: that each kind's fields are validated by the server. Pure.

kubectl asks here, in protobuf only, before it sends a ``List``: no version 3 document is about that kind.
Source: gnostic ``OpenAPIv2.proto``; Kubernetes documentation, "OpenAPI V2".
"""

from __future__ import annotations

from collections.abc import Iterable

from isthmus.lab.apiserver.kinds import Resource
from isthmus.lab.apiserver.kinds.resource import version_path

MEDIA_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
ASKED_FOR = MEDIA_TYPE.replace("v2.v1", "v2@v1")
"""What clients accept; an answer is labelled otherwise, since ``@`` must not be in a media type."""


def document(resources: Iterable[Resource]) -> bytes:
    """A ``Document`` with the ``patch`` of each kind, its group, version and kind, and its ``fieldValidation``."""
    info = _field(1, "Kubernetes") + _field(2, "unversioned")
    paths = b"".join(_field(2, _path(one)) for one in resources if "patch" in one.verbs)
    return _field(1, "2.0") + _field(2, info) + _field(8, paths)


def accepts(accept: str) -> bool:
    """Whether a client takes the one form there is."""
    return MEDIA_TYPE in accept or ASKED_FOR in accept


def _path(resource: Resource) -> bytes:
    """A ``NamedPathItem``."""
    root = f"/{version_path(resource.group, resource.version)}"
    space = "/namespaces/{namespace}" if resource.namespaced else ""
    return _field(1, f"{root}{space}/{resource.plural}/{{name}}") + _field(2, _field(8, _patch(resource)))


def _patch(resource: Resource) -> bytes:
    """An ``Operation``."""
    kind = f"group: '{resource.group}'\nversion: {resource.version}\nkind: {resource.kind}\n"
    extension = _field(1, "x-kubernetes-group-version-kind") + _field(2, _field(2, kind))
    return _field(8, _FIELD_VALIDATION) + _field(13, extension)


def _field(number: int, value: str | bytes) -> bytes:
    """A field of protobuf's wire type 2: text, or a message."""
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes((low | 0x80,)) + _varint(rest) if rest else bytes((low,))


# ParametersItem.parameter . non_body_parameter . query_parameter_sub_schema
_QUERY_PARAMETER = _field(2, "query") + _field(4, "fieldValidation") + _field(6, "string")
_FIELD_VALIDATION = _field(1, _field(2, _field(3, _QUERY_PARAMETER)))
