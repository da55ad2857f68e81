"""Reads files and folders. Nothing is decided here."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from isthmus.doctor.lint.lint import Source
from isthmus.doctor.lint.nodes import MAX_BYTES

MAX_FILES = 10_000
MAX_TOTAL_BYTES = 64 * 1024 * 1024
_ENDINGS = (".yaml", ".yml", ".json")


class LintInputError(Exception):
    """What was named cannot be read; the message says what, and why."""


def read_sources(names: Iterable[str]) -> list[Source]:
    """The content of files, of all YAML and JSON files under folders, and of standard input (``-``).

    Raises LintInputError: something is not there or cannot be read, a folder has no such file, or it is too much.
    """
    found: list[Source] = []
    total = 0
    for path in dict.fromkeys(path for name in names for path in _files(name)):
        source = _read(path)
        total += len(source.content)
        found.append(source)
        if len(found) > MAX_FILES or total > MAX_TOTAL_BYTES:
            raise LintInputError(f"more than {MAX_FILES} files or {MAX_TOTAL_BYTES} bytes: name fewer")
    return found


def _files(name: str) -> Iterator[Path | None]:
    """The files that a name stands for; None for standard input."""
    path = Path(name)
    if name == "-":
        yield None
    elif path.is_dir():
        inside = sorted(each for each in path.rglob("*") if each.suffix in _ENDINGS and each.is_file())
        if not inside:
            raise LintInputError(f"{name}: no file that ends with {', '.join(_ENDINGS)} in this folder")
        yield from inside
    else:
        yield path


def _read(path: Path | None) -> Source:
    """One byte more than is allowed at most: enough to tell that it is too much."""
    if path is None:
        return Source("-", sys.stdin.buffer.read(MAX_BYTES + 1))
    try:
        with path.open("rb") as file:
            return Source(str(path), file.read(MAX_BYTES + 1))
    except OSError as error:
        raise LintInputError(f"{path}: {error.strerror}") from error
