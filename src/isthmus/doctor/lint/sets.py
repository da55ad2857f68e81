"""What is wrong with export and import sets: their rules, their peers, and what the one side wants and the other has.

Pure. Rules are judged by the very code that the control plane decides by (``federation.exports``, ``imports``).
"""

from collections.abc import Iterator, Sequence

from isthmus.api import ExportedServiceSet, ImportedServiceSet
from isthmus.api.exports import ExportRule
from isthmus.api.selectors import Alias, NameSelector
from isthmus.doctor.lint.findings import Finding, Severity, meant
from isthmus.doctor.lint.meshes import Mesh, Pair
from isthmus.doctor.lint.resources import Resource
from isthmus.federation.availability import import_policy
from isthmus.federation.exports import ExportRules
from isthmus.federation.imports import ImportRules
from isthmus.federation.names import import_suffix
from isthmus.federation.selection import Problem, QualifiedName

_ANY = ("", "*")
_CLUSTER_DOMAIN = "cluster.local"


def set_findings(meshes: Sequence[Mesh], pairs: Sequence[Pair]) -> Iterator[Finding]:
    """Everything that is wrong with the sets."""
    for mesh in meshes:
        for each in (*mesh.exports.values(), *mesh.imports.values()):
            yield from _without_peer(mesh, each)
            yield from _rules(each)
        yield from _names_taken(mesh)
    for pair in pairs:
        yield from _without_export(pair)


def _without_peer(mesh: Mesh, found: Resource) -> Iterator[Finding]:
    """A set has the name of the peer that it is for."""
    if found.name not in mesh.peers:
        message = f"{found} has no effect: there is no ServiceMeshPeer {found.name}{meant(found.name, mesh.peers)}"
        yield Finding(
            found.where("metadata", "name"), Severity.ERROR, "PeerNotFound", message, "correct it, or add one"
        )


def _rules(found: Resource) -> Iterator[Finding]:
    match found.typed:
        case ExportedServiceSet():
            rules = ExportRules.of(found.typed.spec.export_rules or ())
            yield from (_problem(found, "exportRules", each) for each in rules.problems)
        case ImportedServiceSet():
            imports = ImportRules.of(found.typed, peer=found.name, cluster_domain=_CLUSTER_DOMAIN)
            yield from (_problem(found, "importRules", each) for each in imports.problems)
    yield from _annotations(found)


def _problem(found: Resource, field: str, problem: Problem) -> Finding:
    severity = Severity.WARNING if problem.reason == "ShadowedRule" else Severity.ERROR
    is_of_locality = problem.reason == "InvalidLocality"
    place = found.where("spec", "locality") if is_of_locality else found.where("spec", field, problem.rule)
    return Finding(place, severity, problem.reason, problem.message)


def _annotations(found: Resource) -> Iterator[Finding]:
    node = found.node.at("metadata", "annotations")
    if found.kind != "ImportedServiceSet" or node is None or not isinstance(node.value, dict):
        return
    given: dict[str, str] = {}
    for name, value in node.value.items():
        if isinstance(value.value, str):
            given[name] = value.value
        elif name.startswith("isthmus.io/"):
            message = f"annotation {name} is no text"
            yield Finding(value.place, Severity.ERROR, "WrongType", message, "put it in quotes")
    for name, value in given.items():
        for problem in import_policy({name: value}).problems:
            yield Finding(node.value[name].place, Severity.ERROR, problem.reason, problem.message)


def _names_taken(mesh: Mesh) -> Iterator[Finding]:
    """Two rules that give one name to two services, as far as that can be told from the rules alone."""
    taken: dict[str, tuple[Resource, int, QualifiedName]] = {}
    for found in mesh.imports.values():
        for index, selector, hostname in _fixed_names(found):
            service = QualifiedName(selector.namespace, selector.name)
            first, first_index, first_service = taken.setdefault(hostname, (found, index, service))
            if (first.name, first_service) != (found.name, service):
                message = f"{hostname} is the name of {first_service} of {first}, importRules[{first_index}], already"
                place = found.where("spec", "importRules", index)
                yield Finding(place, Severity.ERROR, "NameTaken", message, "give one of them another alias")


def _fixed_names(found: Resource) -> Iterator[tuple[int, NameSelector, str]]:
    """The rules that import just one service, and what it is called here."""
    if not isinstance(found.typed, ImportedServiceSet):
        return
    spec = found.typed.spec
    default = spec.domain_suffix or import_suffix(found.name)
    for index, rule in enumerate(spec.import_rules or ()):
        selector = rule.name_selector
        if selector is None or selector.namespace in _ANY or selector.name in _ANY:
            continue
        suffix = f"svc.{_CLUSTER_DOMAIN}" if rule.import_as_local else rule.domain_suffix or default
        name = _kept(selector.alias, "name", selector.name)
        yield index, selector, f"{name}.{_kept(selector.alias, 'namespace', selector.namespace)}.{suffix}"


def _kept(alias: Alias | None, part: str, original: str) -> str:
    given: str = getattr(alias, part) if alias is not None else ""
    return original if given in _ANY else given


def _without_export(pair: Pair) -> Iterator[Finding]:
    """What we import of a peer that does not export it to us, as far as its rules tell."""
    imports = pair.mesh.imports.get(pair.peer.name)
    if imports is None or not isinstance(imports.typed, ImportedServiceSet) or pair.other is None or pair.back is None:
        return
    exports = pair.other.exports.get(str(pair.back.metadata.name))
    if exports is None:
        message = f"{pair.other.name} has no ExportedServiceSet for {pair.mesh.name}: there is nothing to import"
        yield Finding(imports.node.place, Severity.WARNING, "NothingExported", message, "add one there")
        return
    if isinstance(exports.typed, ExportedServiceSet):
        yield from _not_exported(pair.other, imports, imports.typed, exports, exports.typed)


def _not_exported(
    other: Mesh, imports: Resource, wanted: ImportedServiceSet, exports: Resource, offered: ExportedServiceSet
) -> Iterator[Finding]:
    patterns = [each for rule in offered.spec.export_rules or () for each in exported_names(rule)]
    for index, rule in enumerate(wanted.spec.import_rules or ()):
        selector = rule.name_selector
        if selector is None or any(_overlap(selector, each) for each in patterns):
            continue
        name = QualifiedName(selector.namespace or "*", selector.name or "*")
        known = {str(each) for each in patterns}
        message = (
            f"importRules[{index}] imports {name}, and no rule of {other.name} exports it{meant(str(name), known)}"
        )
        place = imports.where("spec", "importRules", index, "nameSelector")
        yield Finding(place, Severity.ERROR, "NotExported", message, f"correct it, or export it: {exports.node.place}")


def exported_names(rule: ExportRule) -> Iterator[QualifiedName]:
    """What a rule may export, under the names that it gives; ``*`` for what depends on the Services there are."""
    if rule.type == "NameSelector":
        selectors: Sequence[NameSelector] = [rule.name_selector] if rule.name_selector else []
    elif rule.label_selector is not None:
        selectors = [*rule.label_selector.aliases, NameSelector(namespace=rule.label_selector.namespace)]
    else:
        selectors = []
    for each in selectors:
        yield QualifiedName(
            _kept(each.alias, "namespace", each.namespace or "*"), _kept(each.alias, "name", each.name or "*")
        )


def _overlap(selector: NameSelector, name: QualifiedName) -> bool:
    return _fits(selector.namespace, name.namespace) and _fits(selector.name, name.name)


def _fits(pattern: str, other: str) -> bool:
    return pattern in _ANY or other in _ANY or pattern == other
