"""ConfigMaps, Secrets and ServiceAccounts. Pure. Source: Kubernetes documentation of these kinds."""

from __future__ import annotations

import base64
import re
from typing import Any

from isthmus.lab.apiserver.base64_text import decode_base64
from isthmus.lab.apiserver.errors import FieldError, forbidden_field, invalid_value, required
from isthmus.lab.apiserver.objects import Object

_DATA_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_KEY_RULE = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
_REQUIRED_KEYS = {"kubernetes.io/tls": ("tls.crt", "tls.key"), "kubernetes.io/dockerconfigjson": (".dockerconfigjson",)}
SIZE_LIMIT = 1024 * 1024
_REDACTED = "<contents redacted>"
"""Instead of a value, which messages would take into logs; it may well be a secret that was not encoded."""


def complete_secret(new: Object, old: Object | None) -> None:
    """``stringData`` is a way of writing ``data``."""
    texts = new.pop("stringData", None) or {}
    if texts:
        new["data"] = {
            **(new.get("data") or {}),
            **{k: base64.b64encode(v.encode()).decode() for k, v in texts.items()},
        }
    new.setdefault("type", (old or {}).get("type", "Opaque"))


def complete_account(new: Object, old: Object | None) -> None:
    """Nothing to complete: accounts have no secrets of their own any more."""


def secret_errors(new: Object, old: Object | None) -> list[FieldError]:
    errors = immutable_errors(new, old) + _base64_errors(new, "data")
    for key in _REQUIRED_KEYS.get(str(new.get("type")), ()):
        if key not in (new.get("data") or {}):
            errors.append(required(f"data[{key}]"))
    if old is not None and old.get("type", "Opaque") != new.get("type"):
        errors.append(invalid_value("type", new.get("type"), "field is immutable"))
    return errors


def config_map_errors(new: Object, old: Object | None) -> list[FieldError]:
    return immutable_errors(new, old) + _base64_errors(new, "binaryData")


def _base64_errors(new: Object, name: str) -> list[FieldError]:
    return [
        invalid_value(f"{name}[{key}]", _REDACTED, "illegal base64 data")
        for key, value in (new.get(name) or {}).items()
        if not _is_base64(value)
    ]


def _is_base64(text: str) -> bool:
    try:
        decode_base64(text)
    except ValueError:
        return False
    return True


def immutable_errors(new: Object, old: Object | None) -> list[FieldError]:
    """The rules that ConfigMaps and Secrets share: keys, size, immutability."""
    errors = [
        invalid_value(f"{name}[{key}]", key, _KEY_RULE)
        for name in ("data", "binaryData")
        for key in new.get(name) or {}
        if not _DATA_KEY.fullmatch(key) or key in (".", "..")
    ]
    if _size(new) > SIZE_LIMIT:
        errors.append(FieldError("", "FieldValueTooLong", f"Too long: may not be more than {SIZE_LIMIT} bytes"))
    if old is not None and old.get("immutable"):
        errors += [_frozen(name) for name in ("data", "binaryData") if new.get(name) != old.get(name)]
        if not new.get("immutable"):
            errors.append(_frozen("immutable"))
    return errors


def _frozen(name: str) -> FieldError:
    return forbidden_field(name, "field is immutable when `immutable` is set")


def _size(obj: dict[str, Any]) -> int:
    return sum(len(value) for name in ("data", "binaryData") for value in (obj.get(name) or {}).values())
