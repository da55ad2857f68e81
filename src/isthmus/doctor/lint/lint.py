"""All rules over all files: sources in, a report out. Pure; the time comes in as an argument."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from isthmus.doctor.lint.control_planes import control_plane_findings
from isthmus.doctor.lint.findings import Finding, Severity
from isthmus.doctor.lint.meshes import meshes_of, pairs_of
from isthmus.doctor.lint.nodes import Node, Reader, UnreadableError
from isthmus.doctor.lint.peers import peer_findings
from isthmus.doctor.lint.resources import CONFIG_MAP, Resource, resources
from isthmus.doctor.lint.roots import root_findings
from isthmus.doctor.lint.sets import set_findings


@dataclass(frozen=True, slots=True)
class Source:
    """A file with its content, or ``-`` for standard input."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found, by place; and how much was looked at."""

    findings: tuple[Finding, ...]
    resources: int
    meshes: int
    unreadable: int
    """Files that are no YAML, or beyond the limits."""

    def count(self, severity: Severity) -> int:
        """How many findings are of that severity."""
        return sum(finding.severity is severity for finding in self.findings)

    @property
    def is_usable(self) -> bool:
        """Whether every file could be read, and one of them has a resource of a federation."""
        return not self.unreadable and self.resources > 0


def lint(sources: Iterable[Source], *, now: datetime) -> Report:
    """Everything that is wrong with the resources in the sources, alone and with each other."""
    documents: list[Node] = []
    findings: list[Finding] = []
    unreadable = 0
    reader = Reader()
    for source in sources:
        try:
            documents += reader.parse(source.name, source.content)
        except UnreadableError as error:
            unreadable += 1
            findings.append(Finding(error.place, Severity.ERROR, "Unreadable", str(error), "correct the file"))
    found, more = resources(documents)
    meshes = meshes_of(found)
    pairs = pairs_of(meshes)
    findings += [
        *more,
        *_repeated(found),
        *_without_namespace(found),
        *control_plane_findings(meshes),
        *peer_findings(pairs),
        *root_findings(pairs, now),
        *set_findings(meshes, pairs),
    ]
    ours = [each for each in found if each.kind != CONFIG_MAP]
    with_plane = [mesh for mesh in meshes if mesh.control_plane is not None]
    return Report(
        findings=tuple(sorted(dict.fromkeys(findings))),
        resources=len(ours),
        meshes=len(with_plane),
        unreadable=unreadable,
    )


def _repeated(found: Sequence[Resource]) -> Iterator[Finding]:
    """Resources that are there twice in one folder: the last that is applied would win."""
    seen: dict[tuple[object, ...], Resource] = {}
    for each in found:
        first = seen.setdefault((each.folder, each.kind, each.namespace, each.name), each)
        if first is not each and each.name:
            message = f"{each} is at {first.node.place} already"
            yield Finding(each.node.place, Severity.ERROR, "RepeatedResource", message, "keep one of them")


def _without_namespace(found: Sequence[Resource]) -> Iterator[Finding]:
    for each in found:
        if not each.namespace and each.kind != CONFIG_MAP:
            message = f"{each} has no metadata.namespace: which mesh it is of cannot be told"
            yield Finding(each.where("metadata"), Severity.WARNING, "NoNamespace", message, "add it")
