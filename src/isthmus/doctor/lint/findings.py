"""What was found, and where."""

from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Severity(StrEnum):
    """How bad it is."""

    ERROR = "error"
    """It does not work, or not as it reads."""
    WARNING = "warning"
    """It may be meant so, and will probably not do what it looks like."""
    INFO = "info"
    """Good to know."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A place in a file; lines and columns are counted from 1."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that was found. ``code``: a word for programs; ``fix``: what to do."""

    place: Place
    severity: Severity
    code: str
    message: str
    fix: str = ""


def meant(name: str, known: "Iterable[str]") -> str:
    """``: did you mean x?`` if something known is like it; else empty."""
    close = get_close_matches(name[:100], [each for each in known if len(each) <= 253], n=1, cutoff=0.75)
    return f": did you mean {close[0]}?" if close else ""
