"""What rules would do before they are applied: what they share, withdraw and rename, and what is wrong with them.

Pure: the set as it is and as it is proposed, and what there is to share; made with the very tables that the control
plane decides by. Source: docs/reference.md §4 and §5.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from isthmus.api import ExportedServiceSet, ImportedServiceSet
from isthmus.api.selectors import ServiceMapping
from isthmus.federation.conditions import export_problems, import_problems
from isthmus.federation.export_table import ExportTable
from isthmus.federation.exports import ExportRules, LocalService
from isthmus.federation.import_table import ImportTable
from isthmus.federation.imports import ImportRules
from isthmus.federation.messages import ServiceMessage, ServicePort
from isthmus.federation.selection import Problem

_SOME_PORT = (ServicePort(port=65535),)
"""Stands for the ports of what is on offer, which are not known."""


@dataclass(frozen=True, slots=True)
class Renamed:
    """A service that stays shared, and leads elsewhere or is called otherwise here."""

    exported: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Preview:
    """What would become of one set; names between the meshes, and in ``added`` and ``removed`` the local ones."""

    added: Mapping[str, str]
    removed: Mapping[str, str]
    renamed: tuple[Renamed, ...]
    kept: int
    problems: tuple[Problem, ...]


def preview_exports(
    current: ExportedServiceSet | None, proposed: ExportedServiceSet, services: Iterable[LocalService]
) -> Preview:
    """What the peer would see more, less or otherwise; ``services`` are all of the mesh."""
    candidates = tuple(services)
    before, after = (_exports(each, proposed, candidates) for each in (current, proposed))
    return _difference(before.status(), after.status(), export_problems(after))


def preview_imports(
    current: ImportedServiceSet | None,
    proposed: ImportedServiceSet,
    *,
    offered: Iterable[str],
    cluster_domain: str,
) -> Preview:
    """What would be usable here more, less or under another name; ``offered`` are the peer's exported host names.

    Nothing is known here of the ports of what is on offer, nor told of what might be wrong with them.
    """
    messages = [_message(hostname) for hostname in offered]
    before, after = (_imports(each, proposed, messages, cluster_domain) for each in (current, proposed))
    return _difference(before.status(), after.status(), import_problems(after))


def _exports(
    rules: ExportedServiceSet | None, proposed: ExportedServiceSet, services: Sequence[LocalService]
) -> ExportTable:
    table = ExportTable(proposed.metadata.name or "", system_namespace=proposed.metadata.namespace or "")
    table.configure(ExportRules.of((rules.spec.export_rules or ()) if rules is not None else ()), [], services)
    return table


def _imports(
    rules: ImportedServiceSet | None,
    proposed: ImportedServiceSet,
    messages: Sequence[ServiceMessage],
    cluster_domain: str,
) -> ImportTable:
    peer = proposed.metadata.name or ""
    table = ImportTable(peer)
    for message in messages:
        table.offer(message.hostname, message)
    if rules is not None:
        table.configure(ImportRules.of(rules, peer=peer, cluster_domain=cluster_domain))
    return table


def _message(hostname: str) -> ServiceMessage:
    """As much of a service as its exported host name tells: ``<name>.<namespace>.svc.<peer>-exports.local``."""
    name, _, namespace = hostname.partition(".svc.")[0].partition(".")
    return ServiceMessage(name=name, namespace=namespace, hostname=hostname, service_ports=_SOME_PORT)


def _difference(
    before: Iterable[ServiceMapping], after: Iterable[ServiceMapping], problems: Iterable[Problem]
) -> Preview:
    was, becomes = _names(before), _names(after)
    both = sorted(was.keys() & becomes.keys())
    renamed = tuple(Renamed(name, was[name], becomes[name]) for name in both if was[name] != becomes[name])
    return Preview(
        added={name: becomes[name] for name in sorted(becomes.keys() - was.keys())},
        removed={name: was[name] for name in sorted(was.keys() - becomes.keys())},
        renamed=renamed,
        kept=len(both) - len(renamed),
        problems=tuple(problems),
    )


def _names(mappings: Iterable[ServiceMapping]) -> dict[str, str]:
    """Local host names by exported ones; what is on offer only has none."""
    return {each.exported_name: each.local_service.hostname for each in mappings if each.local_service.hostname}
