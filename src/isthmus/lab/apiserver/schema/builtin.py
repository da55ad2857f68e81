"""The built-in kinds' schemas, derived from lightkube's typed models. Pure, but for importing the models.

What the models don't tell is told here: which maps hold other things than strings, and which values are free JSON.
"""

from __future__ import annotations

import importlib
import types
import typing
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec

from isthmus.lab.apiserver.kinds.resource import Schema
from isthmus.lab.apiserver.patch.strategic import PRIMITIVE_MERGE, merge_key
from isthmus.lab.apiserver.schema.openshift import PROPERTIES

_FREE_FORM = frozenset(("FieldsV1", "JSONSchemaProps", "CustomResourceConversion"))
_QUANTITIES = frozenset(
    ("limits", "requests", "overhead", "capacity", "allocatable", "hard", "used", "sizeLimit", "divisor")
)
_FREE_MAPS = frozenset(("fieldsV1", "raw", "parameters", "extra"))
_SAME_AS = {("project.openshift.io", "Project"): ("", "Namespace")}
_PLACES = {"Container": "containers", "ServiceSpec": "spec"}
"""Where a model stands in its kind, if that tells how a list in it merges."""
_RETAINING = frozenset((("PodSpec", "volumes"), ("PodSpec", "resourceClaims"), ("DeploymentSpec", "strategy")))
"""Fields, by model, of which a patch names all parts that are to stay."""
_ANY: Schema = {"x-kubernetes-preserve-unknown-fields": True}
_INT_OR_STRING: Schema = {"x-kubernetes-int-or-string": True}
_SCALARS: dict[Any, Schema] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    datetime: {"type": "string", "format": "date-time", "nullable": True},
}


@lru_cache(maxsize=64)
def builtin_schema(group: str, version: str, kind: str) -> Schema:
    """The schema of a built-in kind; everything is allowed for a kind without a model."""
    group, kind = _SAME_AS.get((group, kind), (group, kind))
    if group.endswith(".openshift.io"):
        return _openshift(kind) if kind in PROPERTIES else _ANY
    name = (group.removesuffix(".k8s.io").removesuffix(".authorization") or "core").split(".")[0]
    try:
        module = importlib.import_module(f"lightkube.models.{name}_{version}")
    except ImportError:
        return _ANY
    model = getattr(module, kind, None)
    return _model(model) if model else _ANY


def _openshift(kind: str) -> Schema:
    object_metadata = builtin_schema("", "v1", "ConfigMap")["properties"]["metadata"]
    return {"type": "object", "properties": {**PROPERTIES[kind], "metadata": object_metadata}, "x-model": kind}


@lru_cache(maxsize=2048)
def _model(model: type[msgspec.Struct]) -> Schema:
    if model.__name__ in _FREE_FORM:
        return _ANY
    hints = typing.get_type_hints(model)
    # What is called otherwise on the wire: "from" is no name in Python.
    names = {one.name: one.encode_name for one in msgspec.structs.fields(model)}
    properties = {
        names[name]: {**_field(names[name], hint), **_merging(model.__name__, names[name], hint)}
        for name, hint in hints.items()
    }
    return {"type": "object", "properties": properties, "x-model": model.__name__}


def _merging(model: str, name: str, hint: Any) -> Schema:
    """How a field merges, as its model's OpenAPI document says it: kubectl makes strategic patches after that.

    Source: Kubernetes API conventions, "Strategic Merge Patch".
    """
    of = typing.get_args(_bare(hint)) if typing.get_origin(_bare(hint)) is list else ()
    key = merge_key((_PLACES.get(model, ""), name))
    by_key = bool(of) and key in getattr(of[0], "__struct_fields__", ())
    merges = by_key or (of == (str,) and name in PRIMITIVE_MERGE)
    strategy = [*(["merge"] if merges else ()), *(["retainKeys"] if (model, name) in _RETAINING else ())]
    found = {"x-kubernetes-patch-merge-key": key} if by_key else {}
    return {**found, "x-kubernetes-patch-strategy": ",".join(strategy)} if strategy else found


def _field(name: str, hint: Any) -> Schema:
    if name in _QUANTITIES:
        return {**_map(_INT_OR_STRING)} if _bare(hint) is dict else _INT_OR_STRING
    if _bare(hint) is dict:
        return _ANY if name in _FREE_MAPS else _map({"type": "string"})
    return _typed(hint)


def _map(of: Schema) -> Schema:
    return {"type": "object", "additionalProperties": of}


def _bare(hint: Any) -> Any:
    """The type without Optional."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        parts = [part for part in typing.get_args(hint) if part is not type(None)]
        return parts[0] if len(parts) == 1 else tuple(parts)
    return hint


def _typed(hint: Any) -> Schema:
    bare = _bare(hint)
    if isinstance(bare, tuple):
        return _INT_OR_STRING
    if bare in _SCALARS:
        return _SCALARS[bare]
    if typing.get_origin(bare) is list:
        return {"type": "array", "items": _typed(typing.get_args(bare)[0])}
    if bare is dict:
        return _map({"type": "string"})
    if isinstance(bare, type) and issubclass(bare, msgspec.Struct):
        return _model(bare)
    return _ANY
