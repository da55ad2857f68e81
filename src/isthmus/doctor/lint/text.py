"""A report for people, one line a finding as compilers write it, and as JSON for programs. Pure."""

from typing import Any

from isthmus.doctor.lint.findings import Finding, Severity
from isthmus.doctor.lint.lint import Report


def as_text(report: Report) -> str:
    """Findings by place, and a summary."""
    return "\n".join([*(_line(finding) for finding in report.findings), _summary(report)])


def _line(finding: Finding) -> str:
    fix = f" ({finding.fix})" if finding.fix else ""
    return f"{finding.place}: {finding.severity}: {finding.message}{fix} [{finding.code}]"


def _summary(report: Report) -> str:
    counted = [f"{report.count(severity)} {severity}{_plural(report.count(severity))}" for severity in Severity]
    counted[-1] = f"{report.count(Severity.INFO)} info"
    where = f"{report.resources} resource{_plural(report.resources)} of {report.meshes} mesh"
    return f"{', '.join(counted)} in {where}{'es' if report.meshes != 1 else ''}"


def _plural(count: int) -> str:
    return "" if count == 1 else "s"


def as_json(report: Report) -> dict[str, Any]:
    """The same as an object."""
    return {
        "findings": [
            {
                "file": each.place.file,
                "line": each.place.line,
                "column": each.place.column,
                "severity": str(each.severity),
                "code": each.code,
                "message": each.message,
                "fix": each.fix,
            }
            for each in report.findings
        ],
        "summary": {
            **{str(severity): report.count(severity) for severity in Severity},
            "resources": report.resources,
            "meshes": report.meshes,
            "unreadable": report.unreadable,
        },
    }
