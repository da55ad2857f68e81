"""Regular expressions of schemas and rules: RE2's, as Kubernetes takes them. Pure.

Patterns and texts come from whoever writes objects. RE2 takes time in proportion to both, where Python's own ``re`` can
take for ever. Source: https://github.com/google/re2/wiki/Syntax.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import re2

_MEMORY = 1 << 20
"""Bytes that a pattern may take; the library's own default is eight times that."""


@lru_cache(maxsize=256)
def compiled(pattern: str) -> Any:  # the package has no types
    """Raises ValueError: not a pattern, or too large a one."""
    options = re2.Options()
    options.max_mem, options.log_errors = _MEMORY, False
    try:
        return re2.compile(pattern, options=options)
    except re2.error as error:
        raise ValueError(f"error parsing regexp: {_said(error)}") from error


def _said(error: re2.error) -> str:
    said = error.args[0]
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)


def found(pattern: str, text: str) -> Iterator[str]:
    """What of a text matches, one after the other; nothing is not found where something has just ended.

    Raises ValueError, see ``compiled``.
    """
    end = -1
    for one in compiled(pattern).finditer(text):
        if one.end() > one.start() or one.start() != end:
            yield one[0]
        end = one.end()
