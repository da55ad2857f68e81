"""How one JSON value differs from another, line by line, as a person reads it. Pure."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from isthmus.kube.apply import contains

MAX_SHOWN = 120


def differences(observed: Any, wanted: Any, path: str) -> list[str]:
    """Each place where ``wanted`` is not in ``observed``: ``path: before -> after``. More in observed is no difference.

    Long texts, such as certificates, are shown by their digest.
    """
    return list(_differences(observed, wanted, path))


def _differences(observed: Any, wanted: Any, path: str) -> Iterator[str]:
    if contains(observed, wanted):
        return
    if isinstance(observed, Mapping) and isinstance(wanted, Mapping):
        for name, value in wanted.items():
            yield from _differences(observed.get(name), value, f"{path}.{name}")
        return
    yield f"{path}: {_shown(observed)} -> {_shown(wanted)}"


def _shown(value: Any) -> str:
    if value is None:
        return "(nothing)"
    text = value if isinstance(value, str) else json.dumps(value)
    if len(text) > MAX_SHOWN or "\n" in text:
        return f"({len(text)} characters, SHA-256 {hashlib.sha256(text.encode()).hexdigest()[:16]})"
    return text
