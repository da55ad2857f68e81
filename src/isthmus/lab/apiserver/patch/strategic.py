"""Strategic merge patch for the built-in kinds. Pure.

The lists that merge by a key are a table, by the place of the list in its kind. Source: Kubernetes documentation,
"Update API Objects in Place Using kubectl patch"; the merge keys of the API reference.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from isthmus.lab.apiserver.errors import bad_request

DIRECTIVE = "$patch"
RETAIN_KEYS = "$retainKeys"
DELETE_PRIMITIVES = "$deleteFromPrimitiveList/"
ELEMENT_ORDER = "$setElementOrder/"

MERGE_KEYS: dict[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "containers.ports": ("containerPort",),
    "initContainers.ports": ("containerPort",),
    "spec.ports": ("port",),
    "env": ("name",),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "imagePullSecrets": ("name",),
    "hostAliases": ("ip",),
    "secrets": ("name",),
    "conditions": ("type",),
    "ownerReferences": ("uid",),
    "addresses": ("type",),
    "podIPs": ("ip",),
    "topologySpreadConstraints": ("topologyKey",),
    "resourceClaims": ("name",),
}
"""The list's own name, or with its parent's where the name alone says too little."""

PRIMITIVE_MERGE = frozenset(("finalizers", "podCIDRs"))


def apply_strategic_patch(target: Any, patch: Any) -> Any:
    """The target with the patch merged in. Raises StatusError (400) for an item without its merge key."""
    return _merge(target, patch, ())


def merge_key(path: tuple[str, ...]) -> str | None:
    """The merge key of the list at a path, None when lists there are replaced."""
    name = path[-1] if path else ""
    keys = MERGE_KEYS.get(".".join(path[-2:])) or MERGE_KEYS.get(name)
    return keys[0] if keys else None


def _merge(target: Any, patch: Any, path: tuple[str, ...]) -> Any:
    if not isinstance(patch, dict):
        return patch
    directive = patch.get(DIRECTIVE)
    if directive == "replace":
        return {name: value for name, value in patch.items() if name != DIRECTIVE}
    if directive == "delete":
        return {}
    merged = dict(target) if isinstance(target, dict) else {}
    _delete_primitives(merged, patch)
    for name, value in patch.items():
        if not name.startswith("$"):
            _merge_field(merged, name, value, path)
    _retain(merged, patch)
    _reorder(merged, patch, path)
    return merged


def _merge_field(merged: dict[str, Any], name: str, value: Any, path: tuple[str, ...]) -> None:
    below = (*path, name)
    if value is None:
        merged.pop(name, None)
    elif isinstance(value, list):
        merged[name] = _merge_list(merged.get(name) or [], value, below)
    else:
        merged[name] = _merge(merged.get(name), value, below)


def _merge_list(target: list[Any], patch: list[Any], path: tuple[str, ...]) -> list[Any]:
    if path[-1] in PRIMITIVE_MERGE:
        return [*target, *(one for one in patch if one not in target)]
    key = merge_key(path)
    if key is None or not all(isinstance(one, dict) for one in patch):
        return [one for one in patch if not (isinstance(one, dict) and one.get(DIRECTIVE) == "delete")]
    if any(one.get(DIRECTIVE) == "replace" for one in patch):
        return [one for one in patch if DIRECTIVE not in one]
    merged = list(target)
    for item in patch:
        merged = _merge_item(merged, item, key, path)
    return merged


def _merge_item(merged: list[Any], item: dict[str, Any], key: str, path: tuple[str, ...]) -> list[Any]:
    if key not in item:
        raise bad_request(f"map: {item} does not contain declared merge key: {key}")
    place = next(
        (index for index, one in enumerate(merged) if isinstance(one, dict) and one.get(key) == item[key]), None
    )
    if item.get(DIRECTIVE) == "delete":
        return [one for one in merged if not isinstance(one, dict) or one.get(key) != item[key]]
    if place is None:
        return [*merged, _merge({}, item, path)]
    return [*merged[:place], _merge(merged[place], item, path), *merged[place + 1 :]]


def _delete_primitives(merged: dict[str, Any], patch: dict[str, Any]) -> None:
    for name, gone in patch.items():
        if name.startswith(DELETE_PRIMITIVES) and isinstance(gone, list):
            field = name.removeprefix(DELETE_PRIMITIVES)
            merged[field] = [one for one in merged.get(field) or [] if one not in gone]


def _retain(merged: dict[str, Any], patch: dict[str, Any]) -> None:
    kept = patch.get(RETAIN_KEYS)
    if isinstance(kept, list):
        for name in [name for name in merged if name not in kept]:
            del merged[name]


def _reorder(merged: dict[str, Any], patch: dict[str, Any], path: tuple[str, ...]) -> None:
    """Put a list into the order that the client wants; what it doesn't name keeps its place behind."""
    for name, order in patch.items():
        field = name.removeprefix(ELEMENT_ORDER)
        if field == name or not isinstance(order, list) or not isinstance(merged.get(field), list):
            continue
        key = merge_key((*path, field))
        wanted = [one.get(key) if isinstance(one, dict) and key else one for one in order]
        places = {_hashable(value): place for place, value in enumerate(wanted)}
        merged[field] = sorted(merged[field], key=partial(_place, key=key, places=places))


def _place(item: Any, *, key: str | None, places: dict[str, int]) -> int:
    return places.get(_hashable(item.get(key) if isinstance(item, dict) else item), len(places))


def _hashable(value: Any) -> str:
    return repr(value)
