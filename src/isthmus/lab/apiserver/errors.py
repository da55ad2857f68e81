"""Errors of the API server: each is a ``Status`` that the client gets, in the words a Kubernetes client expects.

    StatusError                    an answer of kind Status, with code and reason
    SecretUnusableError            a file of secrets is damaged; give up and tell the administrator
    StorageError                   the database can't do what was asked
    ├── StorageRefusedError             this write was refused and nothing of it was done; try again later
    ├── RevisionConflictError           somebody wrote in between; read again
    └── DatabaseUnusableError           the data directory is damaged or taken; give up and tell the administrator

Source: Kubernetes API conventions, "Response Status Kind"; wording as clients see it from kube-apiserver.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class StatusError(Exception):
    """An answer of kind ``Status``: what went wrong, in a form that clients can act on."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.headers = dict(headers or {})

    def status(self) -> dict[str, Any]:
        """The error as a ``v1 Status`` object."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        if self.details is not None:  # what is empty is there too: kubectl looks into it
            status["details"] = dict(self.details)
        return status


class SecretUnusableError(Exception):
    """A file with a secret of the server is empty, or is not what it should be."""

    def __init__(self, path: Path, expected: str) -> None:
        super().__init__(
            f"Reading '{path}': expected {expected}; restore the file, or delete it and start again to get a new one"
        )


class StorageError(Exception):
    """The database can't do what was asked."""


class StorageRefusedError(StorageError):
    """The write was refused as a whole (disk full, database locked): nothing of it is stored."""

    def __init__(self, message: str, *, full: bool) -> None:
        super().__init__(message)
        self.full = full


class RevisionConflictError(StorageError):
    """The object is not at the revision that the write expected; ``actual`` is None when it does not exist."""

    def __init__(self, expected: int | None, actual: int | None) -> None:
        super().__init__(f"expected revision {expected}, found {actual}")
        self.expected = expected
        self.actual = actual


class DatabaseUnusableError(StorageError):
    """The data directory is damaged, of another version, or in use by another server."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with one field; ``body`` is the message without the field's path."""

    field: str
    reason: str
    body: str

    def __str__(self) -> str:
        return f"{self.field}: {self.body}"

    def cause(self) -> dict[str, str]:
        return {"reason": self.reason, "message": self.body, "field": self.field}


def required(field: str, detail: str = "") -> FieldError:
    """A field that must be there is not."""
    return FieldError(field, "FieldValueRequired", "Required value" + (f": {detail}" if detail else ""))


def invalid_value(field: str, value: Any, detail: str) -> FieldError:
    """A field's value breaks a rule, which ``detail`` tells."""
    return FieldError(field, "FieldValueInvalid", f"Invalid value: {shown(value)}: {detail}")


def wrong_type(field: str, *, expected: str, actual: str) -> FieldError:
    """A field's value is of another JSON type than the schema says."""
    where = field or "<nil>"
    body = f'Invalid value: "{actual}": {where} in body must be of type {expected}: "{actual}"'
    return FieldError(where, "FieldValueTypeInvalid", body)


def unsupported(field: str, value: Any, allowed: Sequence[Any]) -> FieldError:
    """A field's value is not one of those allowed."""
    listed = ", ".join(shown(one) for one in allowed)
    return FieldError(field, "FieldValueNotSupported", f"Unsupported value: {shown(value)}: supported values: {listed}")


def duplicate(field: str, value: Any) -> FieldError:
    """Two items of a set, or of a list that is a map, are the same."""
    return FieldError(field, "FieldValueDuplicate", f"Duplicate value: {shown(value)}")


def forbidden_field(field: str, detail: str) -> FieldError:
    """A field that may not be set here is set."""
    return FieldError(field, "FieldValueForbidden", f"Forbidden: {detail}")


def too_long(field: str, limit: int) -> FieldError:
    """A string is longer than its schema allows."""
    return FieldError(field, "FieldValueTooLong", f"Too long: may not be more than {limit} bytes")


def too_many(field: str, *, actual: int, limit: int) -> FieldError:
    """A list has more items than its schema allows."""
    return FieldError(field, "FieldValueTooMany", f"Too many: {actual}: must have at most {limit} items")


def shown(value: Any) -> str:
    """A value as messages show it: JSON, trimmed."""
    import msgspec

    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 256 else text[:253] + "..."


def _details(resource: str, name: str, **more: Any) -> dict[str, Any]:
    plural, _, group = resource.partition(".")
    details: dict[str, Any] = {"name": name} if name else {}
    if group:
        details["group"] = group
    return {**details, "kind": plural, **more}


def not_found(resource: str, name: str) -> StatusError:
    """``resource`` is ``plural`` or ``plural.group``."""
    return StatusError(404, "NotFound", f'{resource} "{name}" not found', details=_details(resource, name))


def already_exists(resource: str, name: str) -> StatusError:
    return StatusError(409, "AlreadyExists", f'{resource} "{name}" already exists', details=_details(resource, name))


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(resource: str, name: str, why: str = MODIFIED) -> StatusError:
    message = f'Operation cannot be fulfilled on {resource} "{name}": {why}'
    return StatusError(409, "Conflict", message, details=_details(resource, name))


def invalid(kind: str, name: str, errors: Sequence[FieldError]) -> StatusError:
    """``kind`` is ``Kind`` or ``Kind.group``."""
    listed = str(errors[0]) if len(errors) == 1 else "[" + ", ".join(str(error) for error in errors) + "]"
    bare, _, group = kind.partition(".")
    details: dict[str, Any] = {"name": name} if name else {}
    if group:
        details["group"] = group
    details |= {"kind": bare, "causes": [error.cause() for error in errors]}
    return StatusError(422, "Invalid", f'{kind} "{name}" is invalid: {listed}', details=details)


def bad_request(message: str) -> StatusError:
    return StatusError(400, "BadRequest", message)


def forbidden(resource: str, name: str, why: str) -> StatusError:
    what = f'{resource} "{name}"' if name else resource
    return StatusError(403, "Forbidden", f"{what} is forbidden: {why}", details=_details(resource, name))


def unauthorized() -> StatusError:
    return StatusError(401, "Unauthorized", "Unauthorized", headers={"WWW-Authenticate": "Bearer"})


def method_not_allowed() -> StatusError:
    return StatusError(
        405, "MethodNotAllowed", "the server does not allow this method on the requested resource", details={}
    )


def page_not_found() -> StatusError:
    return StatusError(404, "NotFound", "the server could not find the requested resource", details={})


def expired(message: str) -> StatusError:
    return StatusError(410, "Expired", message)


def too_large(limit: int, detail: str = "") -> StatusError:
    message = f"Request entity too large: limit is {limit}{detail and f' {detail}'}"
    return StatusError(413, "RequestEntityTooLarge", message)


def body_too_slow(within_s: float) -> StatusError:
    message = f"Timeout: the body of the request did not arrive within {within_s:g} s; send it again"
    return StatusError(408, "Timeout", message, headers={"Connection": "close"})


def not_acceptable(accepted: Sequence[str]) -> StatusError:
    listed = ", ".join(accepted)
    message = f"only the following media types are accepted: {listed}"
    return StatusError(406, "NotAcceptable", message)


def unsupported_media_type(accepted: Sequence[str]) -> StatusError:
    listed = ", ".join(accepted)
    message = f"the body of the request was in an unknown format - accepted media types include: {listed}"
    return StatusError(415, "UnsupportedMediaType", message)


def storage_refused(error: StorageRefusedError) -> StatusError:
    """The Status for a write that the database refused: 507 when the disk is full, 503 else."""
    if error.full:
        return StatusError(507, "InsufficientStorage", f"the write was refused, nothing is stored: {error}")
    return StatusError(
        503, "ServiceUnavailable", f"the write was refused, nothing is stored: {error}", headers={"Retry-After": "1"}
    )
