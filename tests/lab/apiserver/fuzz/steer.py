"""A document of the server's OpenAPI, steered so that what is generated from it gets beyond the first check.

Only known fields, the kind's own name, names of objects that there are, and the options' own values; what is generated
against a steered document (its negatives) still breaks each of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NAMES = ("a", "b", "default")
TEXTS: Mapping[str, tuple[str, ...]] = {
    "dryRun": ("", "All"),
    "fieldValidation": ("Strict", "Warn", "Ignore"),
    "propagationPolicy": ("Background", "Foreground", "Orphan"),
    "labelSelector": ("", "a=b", "a in (b,c),!d", "a>1"),
    "fieldSelector": ("", "metadata.name=a", "metadata.name!=a"),
    "resourceVersionMatch": ("", "Exact", "NotOlderThan"),
    "resourceVersion": ("", "0", "1", "5"),
    "continue": ("", "WzEsImEiLCJhIl0="),
}
WANTED = ("metadata", "spec", "name")
Json = Any


def steered(document: Mapping[str, Json]) -> dict[str, Json]:
    """The document, steered."""
    schemas = {name: _named(_steer(one)) for name, one in document["components"]["schemas"].items()}
    paths = {path: _steer(item) for path, item in document["paths"].items()}
    return {**document, "paths": paths, "components": {"schemas": schemas}}


def _named(schema: dict[str, Json]) -> dict[str, Json]:
    """A kind's schema that only takes its own kind."""
    kinds = schema.get("x-kubernetes-group-version-kind")
    if not kinds or not isinstance(schema.get("properties"), dict):
        return schema
    [kind] = kinds
    version = f"{kind['group']}/{kind['version']}" if kind["group"] else kind["version"]
    own = {"apiVersion": {"enum": [version]}, "kind": {"enum": [kind["kind"]]}}
    return {**schema, "properties": {**schema["properties"], **own}}


def _steer(value: Json) -> Json:
    if isinstance(value, list):
        return [_steer(one) for one in value]
    if not isinstance(value, dict):
        return value
    found = {name: _steer(one) for name, one in value.items()}
    if value.get("in") in ("path", "query") and value["schema"].get("type") == "string":
        return {**found, "schema": _text(value["name"])}
    if value.get("in") == "query" and value["schema"].get("type") == "integer":
        return {**found, "schema": {"type": "integer", "minimum": -1}}
    if isinstance(found.get("properties"), dict) and found.get("type") == "object":
        return {**found, **_closed(found)}
    return found


def _text(name: str) -> dict[str, Json]:
    texts = NAMES if name in ("name", "namespace") else TEXTS.get(name)
    return {"type": "string", "enum": list(texts)} if texts else {"type": "string"}


def _closed(schema: Mapping[str, Json]) -> dict[str, Json]:
    """The same without unknown fields, and with those that all else hangs on."""
    properties = dict(schema["properties"])
    if "ownerReferences" in properties:  # the metadata of an object
        kept = ("labels", "annotations", "finalizers", "ownerReferences", "resourceVersion", "uid", "managedFields")
        properties = {name: properties[name] for name in kept} | {"name": {"type": "string", "enum": list(NAMES)}}
    required = [name for name in WANTED if name in properties]
    return {"properties": properties, "additionalProperties": False, **({"required": required} if required else {})}
