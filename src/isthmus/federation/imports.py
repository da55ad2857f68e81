"""Which services of a peer are used here, and under which name.

Rules are tried in order and the first that matches decides; what no rule matches is on offer, not imported. Source:
docs/reference.md §5.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from isthmus.api.imports import ImportRule, ImportsModel, Locality
from isthmus.api.selectors import NameSelector
from isthmus.federation.locality import locality_problems
from isthmus.federation.messages import ServiceMessage
from isthmus.federation.names import import_suffix
from isthmus.federation.selection import Problem, QualifiedName, name_scope, renamed, rule_problems, selects


@dataclass(frozen=True, slots=True)
class ImportedName:
    """What an imported service is called here. ``is_local``: it joins the Service of that name, if there is one."""

    name: QualifiedName
    hostname: str
    is_local: bool = False


@dataclass(frozen=True, slots=True)
class ImportRules:
    """The usable rules of an ImportedServiceSet, and what is wrong with the others."""

    rules: tuple[Callable[[QualifiedName], ImportedName | None], ...] = ()
    problems: tuple[Problem, ...] = ()
    locality: Locality = field(default_factory=Locality)
    """Where the importer says that all of it is; empty: nowhere in particular."""
    indexes: tuple[int, ...] = ()
    """Where each usable rule stands in the set."""

    @classmethod
    def of(cls, imports: ImportsModel, *, peer: str, cluster_domain: str) -> "ImportRules":
        """Make rules ready for use; one that cannot be used is left out and told of, and the others count."""
        default = imports.spec.domain_suffix or import_suffix(peer)
        problems = locality_problems(imports.spec.locality)
        given = imports.spec.import_rules or ()
        reasons = [_unusable(rule, default, cluster_domain) for rule in given]
        usable = [index for index, why in enumerate(reasons) if not why]
        scopes = [
            name_scope(rule.name_selector) if rule.name_selector and not why else None
            for rule, why in zip(given, reasons, strict=True)
        ]
        return cls(
            rules=tuple(_matcher(given[index], default, cluster_domain) for index in usable),
            problems=(*rule_problems("importRules", reasons, scopes), *problems),
            locality=(imports.spec.locality if not problems else None) or Locality(),
            indexes=tuple(usable),
        )

    def deciding(self, service: ServiceMessage) -> int | None:
        """The index, in the set, of the rule that imports the service; None if none does."""
        exported = QualifiedName(service.namespace, service.name)
        matches = (index for index, rule in zip(self.indexes, self.rules, strict=True) if rule(exported) is not None)
        return next(matches, None)

    def imported_name(self, service: ServiceMessage) -> ImportedName | None:
        """What the service is called here, or None if no rule imports it; the rules speak of exported names."""
        exported = QualifiedName(service.namespace, service.name)
        for rule in self.rules:
            name = rule(exported)
            if name is not None:
                return name
        return None


def _matcher(rule: ImportRule, default: str, cluster_domain: str) -> Callable[[QualifiedName], ImportedName | None]:
    selector = rule.name_selector or NameSelector()
    suffix = f"svc.{cluster_domain}" if rule.import_as_local else rule.domain_suffix or default

    def match(exported: QualifiedName) -> ImportedName | None:
        if not selects(selector, exported):
            return None
        name = renamed(exported, selector.alias)
        # As often as anywhere, the name is among the annotations of the import's objects: kept once.
        hostname = sys.intern(f"{name.name}.{name.namespace}.{suffix}")
        return ImportedName(name, hostname, is_local=rule.import_as_local)

    return match


def _unusable(rule: ImportRule, default: str, cluster_domain: str) -> str:
    if rule.name_selector is None:
        return "its type is NameSelector, give it a nameSelector"
    if rule.import_as_local:
        alias = rule.name_selector.alias
        fixed = alias is not None and alias.namespace not in {"", "*"}
        return "" if fixed else "importAsLocal needs nameSelector.alias.namespace, the local namespace to import into"
    suffix = rule.domain_suffix or default
    if suffix in {cluster_domain, f"svc.{cluster_domain}"}:
        return f"domainSuffix {suffix} is the cluster's own, use importAsLocal: true instead"
    return ""
