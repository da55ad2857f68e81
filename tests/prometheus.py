"""Prometheus' text format as tests read it: names as they are stored; the library's parser renames counters."""

import re

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]
"""Values by name and labels."""

_LINE = re.compile(r"^([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def series(text: str) -> Series:
    """What a page says."""
    return {
        (name, frozenset(_LABEL.findall(labels or ""))): float(value) for name, labels, value in _LINE.findall(text)
    }


def families(text: str) -> set[str]:
    """The names that a page announces, whether there is a series of each or not."""
    return set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE)) | {name for name, _ in series(text)}
