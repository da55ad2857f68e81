"""As much of Markdown as the tests of the documents need: headings, code blocks, links."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])

_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^(#+) (?:(\d+(?:\.\d+)*)\.? )?(.+)$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_NO_SLUG = re.compile(r"[^\w\- ]")


@dataclass(frozen=True, slots=True)
class Heading:
    """``## 2. Messages``: level 2, number "2", title "Messages"."""

    level: int
    number: str
    title: str

    @property
    def anchor(self) -> str:
        """The anchor that GitHub gives it (of the first heading of that text)."""
        number = f"{self.number.replace('.', '')} " if self.number else ""
        return _NO_SLUG.sub("", f"{number}{self.title}".lower()).replace(" ", "-")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of code."""

    language: str
    code: str


def blocks(path: Path) -> list[Block]:
    """All blocks of code, in order."""
    return [Block(*found) for found in _FENCE.findall(path.read_text())]


def prose(path: Path) -> str:
    """The text without its blocks of code."""
    return _FENCE.sub("", path.read_text())


def headings(path: Path) -> list[Heading]:
    """All headings, in order."""
    return [Heading(len(marks), number, title) for marks, number, title in _HEADING.findall(prose(path))]


def relative_links(path: Path) -> Iterator[str]:
    """The targets of links that lead to files or headings here."""
    return (target for target in _LINK.findall(prose(path)) if "://" not in target)
