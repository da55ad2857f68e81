"""The options of a request: query parameters as values. Pure.

Source: Kubernetes API reference, ListOptions, CreateOptions, PatchOptions, DeleteOptions.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from isthmus.lab.apiserver.changes.options import DeleteOptions, WriteOptions
from isthmus.lab.apiserver.errors import FieldError, StatusError, bad_request, forbidden_field, invalid
from isthmus.lab.apiserver.kinds import Resource
from isthmus.lab.apiserver.selectors import FieldSelector, Selection, parse_fields, parse_labels

Query = Mapping[str, str]


def truth(query: Query, name: str) -> bool:
    """A boolean parameter: absent, "0" and "false" are false."""
    return query.get(name, "") not in ("", "0", "false", "False")


def whole_number(query: Query, name: str) -> int | None:
    """An unsigned parameter, None when absent. Raises StatusError (400)."""
    text = query.get(name, "")
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise bad_request(f'strconv.ParseInt: parsing "{text[:40]}": invalid syntax in parameter {name}')
    return int(text)


def revision_of(text: str) -> int | None:
    """A resource version given by a client; None when empty. Raises StatusError (400)."""
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise bad_request(f'Invalid value: "{text[:40]}": strconv.ParseUint: parsing "{text[:40]}": invalid syntax')
    return int(text)


@dataclass(frozen=True, slots=True)
class Continue:
    """Where a paged list goes on: after ``namespace``/``name`` at ``revision``."""

    revision: int
    namespace: str
    name: str

    def token(self) -> str:
        return base64.urlsafe_b64encode(msgspec.json.encode([self.revision, self.namespace, self.name])).decode()


def parse_continue(token: str) -> Continue:
    """Raises StatusError (400) for anything that this server didn't make."""
    try:
        revision, namespace, name = msgspec.json.decode(base64.urlsafe_b64decode(token), type=tuple[int, str, str])
    except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
        raise bad_request("continue key is not valid: the token was not made by this server") from error
    return Continue(revision, namespace, name)


@dataclass(frozen=True, slots=True)
class ListOptions:
    """What a list or watch asks for."""

    selection: Selection
    limit: int
    after: Continue | None
    revision: int | None
    match: str
    watching: bool
    bookmarks: bool
    initial_events: bool | None
    timeout_s: int | None


def list_options(query: Query, resource: Resource) -> ListOptions:
    """Parse and check. Raises StatusError."""
    token = query.get("continue", "")
    options = ListOptions(
        selection=Selection(
            parse_labels(query.get("labelSelector", "")),
            _stored_fields(query.get("fieldSelector", ""), resource),
        ),
        limit=whole_number(query, "limit") or 0,
        after=parse_continue(token) if token else None,
        revision=revision_of(query.get("resourceVersion", "")),
        match=query.get("resourceVersionMatch", ""),
        watching=truth(query, "watch"),
        bookmarks=truth(query, "allowWatchBookmarks"),
        initial_events=truth(query, "sendInitialEvents") if query.get("sendInitialEvents") else None,
        timeout_s=whole_number(query, "timeoutSeconds"),
    )
    if problems := _list_problems(options):
        raise _list_invalid(problems)
    return options


def _stored_fields(text: str, resource: Resource) -> FieldSelector:
    """A field selector in the terms of what is stored."""
    terms = parse_fields(text, supported=resource.supported_fields, kind=resource.kind)
    paths = resource.view.paths if resource.view else {}
    return tuple(replace(term, path=paths.get(term.path, term.path)) for term in terms)


def _list_invalid(problems: list[FieldError]) -> StatusError:
    return invalid("ListOptions.meta.k8s.io", "", problems)


def _list_problems(options: ListOptions) -> list[FieldError]:
    if options.watching:
        return _watch_problems(options)
    problems = []
    if options.initial_events is not None:
        problems.append(forbidden_field("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    if options.match not in ("", "Exact", "NotOlderThan"):
        problems.append(
            FieldError(
                "resourceVersionMatch",
                "FieldValueNotSupported",
                f'Unsupported value: "{options.match}": supported values: "Exact", "NotOlderThan", ""',
            )
        )
    if options.match and options.revision is None:
        problems.append(
            forbidden_field(
                "resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided"
            )
        )
    if options.match and options.after is not None:
        problems.append(
            forbidden_field("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided")
        )
    if options.match == "Exact" and options.revision == 0:
        problems.append(
            forbidden_field("resourceVersionMatch", 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"')
        )
    return problems


def _watch_problems(options: ListOptions) -> list[FieldError]:
    problems = []
    if options.initial_events is None and options.match:
        problems.append(
            forbidden_field(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            )
        )
    if options.initial_events is not None and options.match != "NotOlderThan":
        problems.append(
            forbidden_field(
                "resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            )
        )
    return problems


FIELD_VALIDATIONS = ("Ignore", "Warn", "Strict")


def write_options(query: Query, *, user_agent: str) -> WriteOptions:
    """Parse and check. Raises StatusError."""
    validation = query.get("fieldValidation") or "Warn"
    if validation not in FIELD_VALIDATIONS:
        error = FieldError(
            "fieldValidation",
            "FieldValueNotSupported",
            f'Unsupported value: "{validation}": supported values: "Ignore", "Strict", "Warn"',
        )
        raise invalid("PatchOptions.meta.k8s.io", "", [error])
    return WriteOptions(
        manager=(query.get("fieldManager") or user_agent.split("/", maxsplit=1)[0] or "unknown")[:128],
        dry_run=_dry_run(query.get("dryRun", "")),
        validation=validation,
        force=truth(query, "force"),
    )


def _dry_run(value: str) -> bool:
    if value not in ("", "All"):
        error = FieldError("dryRun", "FieldValueNotSupported", f'Unsupported value: "{value}": supported values: "All"')
        raise invalid("CreateOptions.meta.k8s.io", "", [error])
    return value == "All"


def _orphaning(body: Mapping[str, Any]) -> str:
    """The policy that the older field asks for. Raises StatusError (400)."""
    match body.get("orphanDependents"):
        case None:
            return ""
        case bool(orphan):
            return "Orphan" if orphan else "Background"
        case _:
            raise bad_request("DeleteOptions: orphanDependents must be true or false")


def _grace_s(query: Query, body: Mapping[str, Any]) -> int | None:
    grace = body.get("gracePeriodSeconds", whole_number(query, "gracePeriodSeconds"))
    if not isinstance(grace, int | None) or isinstance(grace, bool):
        raise bad_request("DeleteOptions: gracePeriodSeconds must be an integer")
    return grace


def delete_options(query: Query, body: Mapping[str, Any]) -> DeleteOptions:
    """Parse and check. Raises StatusError."""
    preconditions = body.get("preconditions") or {}
    orphaning = _orphaning(body)
    propagation = body.get("propagationPolicy") or query.get("propagationPolicy", "") or orphaning
    if not isinstance(preconditions, Mapping):
        raise bad_request("DeleteOptions: preconditions must be an object")
    if propagation not in ("", "Background", "Foreground", "Orphan"):
        error = FieldError(
            "propagationPolicy",
            "FieldValueNotSupported",
            f'Unsupported value: "{propagation}": supported values: "Foreground", "Background", "Orphan", "nil"',
        )
        raise invalid("DeleteOptions.meta.k8s.io", "", [error])
    return DeleteOptions(
        grace_s=_grace_s(query, body),
        uid=str(preconditions.get("uid") or ""),
        revision=str(preconditions.get("resourceVersion") or ""),
        dry_run=_dry_run(query.get("dryRun", "")) or body.get("dryRun") == ["All"],
        propagation=propagation,
    )
