"""What a CustomResourceDefinition adds to the table of kinds. Pure.

Source: apiextensions.k8s.io/v1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isthmus.lab.apiserver.kinds.printed import custom_columns
from isthmus.lab.apiserver.kinds.resource import Resource, Scale
from isthmus.lab.apiserver.objects import Object

RESOURCE = "customresourcedefinitions.apiextensions.k8s.io"


def established(definition: Object) -> bool:
    conditions = definition.get("status", {}).get("conditions", ())
    return any(one.get("type") == "Established" and one.get("status") == "True" for one in conditions)


def custom_resources(definition: Object) -> list[Resource]:
    """One Resource per served version, in the order of preference; none while the definition is not established."""
    if not established(definition):
        return []
    spec = definition["spec"]
    storage = next(one["name"] for one in spec["versions"] if one.get("storage"))
    served = [one for one in spec["versions"] if one.get("served")]
    return [_resource(spec, version, storage) for version in served]


def _resource(spec: Mapping[str, Any], version: Mapping[str, Any], storage: str) -> Resource:
    names = spec["names"]
    subresources = version.get("subresources") or {}
    return Resource(
        group=spec["group"],
        version=version["name"],
        kind=names["kind"],
        plural=names["plural"],
        singular=names.get("singular") or names["kind"].lower(),
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        subresources=frozenset(name for name in ("status", "scale") if name in subresources),
        columns=custom_columns(version.get("additionalPrinterColumns")),
        selectable=tuple(one["jsonPath"].lstrip(".") for one in version.get("selectableFields") or ()),
        list_kind=names.get("listKind", ""),
        storage_version=storage,
        scale=_scale(subresources.get("scale")),
        schema=_schema(version),
        deprecation=_deprecation(spec, version),
        custom=True,
        keeps_generation=True,
    )


def _deprecation(spec: Mapping[str, Any], version: Mapping[str, Any]) -> str:
    if not version.get("deprecated"):
        return ""
    kind = f"{spec['group']}/{version['name']} {spec['names']['kind']}"
    return str(version.get("deprecationWarning") or f"{kind} is deprecated")


def _scale(scale: Mapping[str, Any] | None) -> Scale | None:
    if scale is None:
        return None
    return Scale(
        spec_path=scale["specReplicasPath"].lstrip("."),
        status_path=scale["statusReplicasPath"].lstrip("."),
        selector_path=scale.get("labelSelectorPath", "").lstrip("."),
    )


def _schema(version: Mapping[str, Any]) -> Mapping[str, Any] | None:
    schema: Mapping[str, Any] | None = (version.get("schema") or {}).get("openAPIV3Schema")
    return schema
