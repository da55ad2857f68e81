"""Writing a status: only when it differs, and only what differs (JSON merge patch, RFC 7396)."""

from typing import Any

import msgspec


def status_patch(old: Any, new: Any) -> dict[str, Any] | None:
    """The merge patch that turns status ``old`` (None or a lightkube model) into ``new``, or None if they are the same.

    Lists are replaced as a whole; a field that is no longer there is removed.
    """
    before: dict[str, Any] = msgspec.to_builtins(old) if old is not None else {}
    after: dict[str, Any] = msgspec.to_builtins(new)
    if before == after:
        return None
    return {"status": merge_patch(before, after)}


def merge_patch(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The merge patch between two JSON objects."""
    patch: dict[str, Any] = dict.fromkeys(before.keys() - after.keys())
    for key, value in after.items():
        known = before.get(key)
        if isinstance(known, dict) and isinstance(value, dict):
            if nested := merge_patch(known, value):
                patch[key] = nested
        elif known != value:
            patch[key] = value
    return patch
