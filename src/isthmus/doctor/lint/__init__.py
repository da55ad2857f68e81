"""What is wrong with files of federation resources, found without a cluster.

Belongs here: YAML with its line numbers, read within bounds; the rules (pure: resources in, findings out); the report.
Must not: ask a cluster; what there is to export is for ``isthmus preview``.
"""

from isthmus.doctor.lint.findings import Finding, Severity
from isthmus.doctor.lint.lint import Report, Source, lint
from isthmus.doctor.lint.reading import LintInputError, read_sources
from isthmus.doctor.lint.text import as_json, as_text

__all__ = [
    "Finding",
    "LintInputError",
    "Report",
    "Severity",
    "Source",
    "as_json",
    "as_text",
    "lint",
    "read_sources",
]
