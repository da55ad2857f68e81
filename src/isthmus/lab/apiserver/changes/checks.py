"""Is an object what its kind says it is: unknown fields, types, defaults, names. Pure, but for changing the object.

Source: Kubernetes documentation, "Server Side Field Validation".
"""

from __future__ import annotations

from isthmus.lab.apiserver.changes.options import WriteOptions
from isthmus.lab.apiserver.errors import FieldError, bad_request, invalid
from isthmus.lab.apiserver.kinds import Resource
from isthmus.lab.apiserver.kinds.resource import GroupVersionKind, Schema
from isthmus.lab.apiserver.names import metadata_errors
from isthmus.lab.apiserver.objects import Object, metadata
from isthmus.lab.apiserver.schema import builtin_schema, set_defaults, unknown_fields, validate
from isthmus.lab.apiserver.schema.fitting import fits, object_fits
from isthmus.lab.apiserver.schema.prune import drop_nulls
from isthmus.lab.apiserver.schema.rules import rule_errors

_META_SCHEMA_OF = ("", "v1", "ConfigMap")


def metadata_schema() -> Schema:
    schema: Schema = builtin_schema(*_META_SCHEMA_OF)["properties"]["metadata"]
    return schema


def check_object(
    obj: Object, resource: Resource, options: WriteOptions, *, old: Object | None = None
) -> tuple[str, ...]:
    """Prune, default and check an object in place, also against what it was; returns warnings for unknown fields.

    Raises StatusError: 400 for unknown fields under Strict and for wrong types of a built-in kind, 422 for the rest.
    """
    warnings: tuple[str, ...] = ()
    errors: list[FieldError] = []
    name = str(metadata(obj).get("name", ""))
    if not _is_fitting(obj, resource):
        warnings = _told(_prune(obj, resource), resource, options)
        if resource.custom:
            errors = _custom_errors(obj, resource)
        else:
            check_types(obj, resource.gvk)
    if not errors:
        errors = metadata_errors(metadata(obj), name_rule=resource.name_rule)
    if not errors and resource.custom and resource.schema is not None:
        errors = rule_errors(obj, old, resource.schema)
    if errors:
        raise invalid(resource.group_kind, name, errors)
    return warnings


def _is_fitting(obj: Object, resource: Resource) -> bool:
    """Whether there is certainly nothing to prune, to default or to complain of."""
    schema = schema_of(resource)
    if not resource.custom:
        return schema is not None and fits(obj, schema)
    return schema is not None and object_fits(obj, schema) and fits(metadata(obj), metadata_schema())


def prune(obj: Object, resource: Resource, options: WriteOptions) -> tuple[str, ...]:
    """Drop unknown fields; returns warnings for them. Raises StatusError (400) for them under Strict."""
    return () if _is_fitting(obj, resource) else _told(_prune(obj, resource), resource, options)


def _told(unknown: list[str], resource: Resource, options: WriteOptions) -> tuple[str, ...]:
    if unknown and options.validation == "Strict":
        raise strict_error(resource, unknown)
    return tuple(f'unknown field "{path}"' for path in unknown) if options.validation == "Warn" else ()


def strict_error(resource: Resource, unknown: list[str]) -> Exception:
    listed = ", ".join(f'unknown field "{path}"' for path in unknown)
    return bad_request(
        f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}:'
        f" strict decoding error: {listed}"
    )


def _prune(obj: Object, resource: Resource) -> list[str]:
    schema = schema_of(resource)
    unknown = unknown_fields(obj, schema) if schema is not None else []
    if resource.custom:
        meta = {"metadata": obj["metadata"]}
        unknown = unknown_fields(meta, {"properties": {"metadata": metadata_schema()}}) + unknown
    return unknown


def schema_of(resource: Resource) -> Schema | None:
    if resource.custom:
        return resource.schema
    return builtin_schema(*resource.gvk)


def _custom_errors(obj: Object, resource: Resource) -> list[FieldError]:
    errors = validate(metadata(obj), metadata_schema(), "metadata")
    schema = resource.schema
    if schema is None or errors:
        return errors
    drop_nulls(obj, schema)
    set_defaults(obj, schema)
    return validate(obj, schema)


def check_types(obj: Object, kind: GroupVersionKind) -> None:
    """Check an object of a built-in kind, whose nulls are dropped in place.

    It is decoded into its type: a wrong type is not a validation error but an unreadable object. Raises StatusError
    (400).
    """
    drop_all_nulls(obj)
    if errors := validate(obj, builtin_schema(*kind)):
        first, version, name = errors[0], kind.version, kind.kind
        raise bad_request(
            f'{name} in version "{version}" cannot be handled as a {name}:'
            f" json: cannot unmarshal into field {name}.{first.field}: {first.body}"
        )


def drop_all_nulls(value: object) -> None:
    """Null and absent are the same in a typed object."""
    if isinstance(value, dict):
        for name in [name for name, one in value.items() if one is None]:
            del value[name]
        for one in value.values():
            drop_all_nulls(one)
    elif isinstance(value, list):
        for one in value:
            drop_all_nulls(one)
