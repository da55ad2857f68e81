"""CustomResourceDefinitions. Pure. Source: apiextensions.k8s.io/v1."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from isthmus.lab.apiserver.errors import FieldError, invalid_value, required, unsupported
from isthmus.lab.apiserver.names import dns1035_error, subdomain_error
from isthmus.lab.apiserver.objects import Object, metadata
from isthmus.lab.apiserver.schema import patterns
from isthmus.lab.apiserver.schema.expressions import ExpressionError, compiled
from isthmus.lab.apiserver.schema.form import form_errors
from isthmus.lab.apiserver.schema.rules import RULES
from isthmus.lab.apiserver.schema.selections import selection_errors

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
"""The finalizer that keeps a definition until its objects are gone."""

_TYPES = ("array", "boolean", "integer", "number", "object", "string")


def complete_definition(new: Object, old: Object | None) -> None:
    """Names that follow from the kind, the conversion, and the conditions: a sound definition is served at once."""
    spec = new.setdefault("spec", {})
    names = spec.setdefault("names", {})
    kind = str(names.get("kind", ""))
    names.setdefault("singular", kind.lower())
    names.setdefault("listKind", f"{kind}List")
    spec.setdefault("conversion", {"strategy": "None"})
    stored = [one["name"] for one in spec.get("versions") or () if one.get("storage") and "name" in one]
    kept = ((old or {}).get("status") or {}).get("storedVersions") or []
    if old is None:
        finalizers = metadata(new).setdefault("finalizers", [])
        finalizers.extend(one for one in (CLEANUP,) if one not in finalizers)
    new["status"] = {
        "conditions": _conditions(metadata(new)["creationTimestamp"]),
        "acceptedNames": names,
        "storedVersions": list(dict.fromkeys([*kept, *stored])),
    }


def _conditions(since: str) -> list[dict[str, str]]:
    return [
        {
            "type": "NamesAccepted",
            "status": "True",
            "lastTransitionTime": since,
            "reason": "NoConflicts",
            "message": "no conflicts found",
        },
        {
            "type": "Established",
            "status": "True",
            "lastTransitionTime": since,
            "reason": "InitialNamesAccepted",
            "message": "the initial names have been accepted",
        },
    ]


def definition_errors(new: Object, old: Object | None) -> list[FieldError]:
    """Everything wrong with a definition."""
    spec = new["spec"]
    return [*_name_errors(new, spec), *_version_errors(spec), *_frozen_errors(spec, old)]


def _name_errors(new: Object, spec: Mapping[str, Any]) -> Iterator[FieldError]:
    names = spec["names"]
    group, plural = str(spec.get("group", "")), str(names.get("plural", ""))
    if not group:
        yield required("spec.group")
    elif problem := subdomain_error(group):
        yield invalid_value("spec.group", group, problem)
    elif "." not in group:
        yield invalid_value("spec.group", group, "should be a domain with at least one dot")
    if not spec.get("scope"):
        yield required("spec.scope")
    elif spec["scope"] not in ("Cluster", "Namespaced"):
        yield unsupported("spec.scope", spec["scope"], ("Cluster", "Namespaced"))
    yield from _plural_errors(names)
    if plural and group and metadata(new)["name"] != f"{plural}.{group}":
        yield invalid_value("metadata.name", metadata(new)["name"], 'must be spec.names.plural+"."+spec.group')


def _plural_errors(names: Mapping[str, Any]) -> Iterator[FieldError]:
    for name in ("plural", "kind"):
        if not names.get(name):
            yield required(f"spec.names.{name}")
    for name in ("plural", "singular"):
        if names.get(name) and (problem := dns1035_error(names[name])):
            yield invalid_value(f"spec.names.{name}", names[name], problem)


def _version_errors(spec: Mapping[str, Any]) -> Iterator[FieldError]:
    versions = spec.get("versions") or []
    if sum(1 for one in versions if one.get("storage")) != 1:
        yield invalid_value("spec.versions", len(versions), "must have exactly one version marked as storage version")
    seen = set()
    for index, version in enumerate(versions):
        path = f"spec.versions[{index}]"
        name = str(version.get("name", ""))
        if problem := dns1035_error(name):
            yield invalid_value(f"{path}.name", name, problem)
        if name in seen:
            yield invalid_value(f"{path}.name", name, "must be unique")
        seen.add(name)
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        if not isinstance(schema, dict):
            yield required(f"{path}.schema.openAPIV3Schema", "schemas are required")
        else:
            yield from _schema_errors(schema, f"{path}.schema.openAPIV3Schema")
        yield from _path_errors(version, path)


_SCALE_PATHS = {"specReplicasPath": ".spec", "statusReplicasPath": ".status"}


def _path_errors(version: Mapping[str, Any], path: str) -> Iterator[FieldError]:
    """Columns, selectable fields and a scale must say where in an object they find what they show."""
    for index, one in enumerate(version.get("additionalPrinterColumns") or ()):
        yield from _lacking(one, f"{path}.additionalPrinterColumns[{index}]", ("name", "type", "jsonPath"))
    for index, one in enumerate(version.get("selectableFields") or ()):
        yield from _lacking(one, f"{path}.selectableFields[{index}]", ("jsonPath",))
    if (scale := (version.get("subresources") or {}).get("scale")) is not None:
        where = f"{path}.subresources.scale"
        yield from _lacking(scale, where, _SCALE_PATHS)
        for name, above in _SCALE_PATHS.items():
            if scale.get(name) and not scale[name].startswith(f"{above}."):
                yield invalid_value(f"{where}.{name}", scale[name], f"should be a json path under {above}")


def _lacking(part: Mapping[str, Any], path: str, names: Iterable[str]) -> Iterator[FieldError]:
    return (required(f"{path}.{name}") for name in names if not part.get(name))


def _schema_errors(schema: Mapping[str, Any], path: str) -> list[FieldError]:
    """What is wrong with a schema: with its form, else with what it says, else with its rules, which rely on both."""
    wrong = form_errors(schema, path) or list(_structural_errors(schema, path, root=True))
    return wrong or list(_rule_errors(schema, path, root=True))


def _structural_errors(schema: Mapping[str, Any], path: str, *, root: bool = False) -> Iterator[FieldError]:
    """The parts of a structural schema that this server relies on."""
    kind = schema.get("type")
    free = schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("x-kubernetes-int-or-string")
    if root and kind != "object":
        yield invalid_value(f"{path}.type", kind or "", "must be object at the root")
    elif not kind and not free:
        yield required(f"{path}.type", "must not be empty for specified object fields")
    elif kind and kind not in _TYPES:
        yield unsupported(f"{path}.type", kind, _TYPES)
    if "pattern" in schema:
        yield from _pattern_errors(schema["pattern"], path)
    if kind == "array" and not isinstance(schema.get("items"), Mapping):
        yield required(f"{path}.items", "must be specified")
    for below, one in _below(schema, path):
        yield from _structural_errors(one, below)


def _rule_errors(schema: Mapping[str, Any], path: str, *, root: bool = False) -> Iterator[FieldError]:
    """Rules that can't be compiled, or select what there is not."""
    for index, rule in enumerate(schema.get(RULES) or ()):
        where, optional = f"{path}.{RULES}[{index}]", rule.get("optionalOldSelf") is True
        if not str(rule.get("rule", "")).strip():
            yield required(f"{where}.rule", "rule is not specified")
            continue
        for name in ("rule", "messageExpression"):
            for problem in _expression_problems(str(rule.get(name) or ""), schema, root=root, optional_old=optional):
                yield invalid_value(f"{where}.{name}", str(rule[name]), f"compilation failed: {problem}")
    for below, one in _below(schema, path):
        yield from _rule_errors(one, below)


def _expression_problems(expression: str, schema: Mapping[str, Any], *, root: bool, optional_old: bool) -> list[str]:
    if not expression:
        return []
    try:
        compiled(expression, optional_old)
        return selection_errors(expression, schema, root=root, optional_old=optional_old)
    except ExpressionError as error:
        return [str(error)]


def _below(schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The schemas in a schema, by their paths."""
    for name, one in (schema.get("properties") or {}).items():
        if not root_field(path, name):
            yield f"{path}.properties[{name}]", one
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), Mapping):
            yield f"{path}.{name}", schema[name]


def root_field(path: str, name: str) -> bool:
    return path.endswith(".openAPIV3Schema") and name in ("apiVersion", "kind", "metadata")


def _pattern_errors(pattern: Any, path: str) -> Iterator[FieldError]:
    try:
        patterns.compiled(str(pattern))
    except ValueError as error:
        yield invalid_value(f"{path}.pattern", pattern, f"must be a valid regular expression: {error}")


def _frozen_errors(spec: Mapping[str, Any], old: Object | None) -> Iterator[FieldError]:
    if old is None:
        return
    before = old["spec"]
    for path in ("group", "scope"):
        if spec.get(path) != before.get(path):
            yield invalid_value(f"spec.{path}", spec.get(path), "field is immutable")
    for path in ("plural", "kind"):
        if spec["names"].get(path) != before["names"].get(path):
            yield invalid_value(f"spec.names.{path}", spec["names"].get(path), "field is immutable")
