"""Which services a peer may see, and under which name.

Rules are tried in order and the first that matches decides; without a rule nothing is exported. Source:
docs/reference.md §4.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from isthmus.api.exports import ExportRule
from isthmus.api.selectors import LabelledServices, NameSelector
from isthmus.federation.messages import Health, Locality, ServiceMessage, ServicePort
from isthmus.federation.names import exported_hostname
from isthmus.federation.selection import (
    Problem,
    QualifiedName,
    Scope,
    label_scope,
    labels_match,
    name_scope,
    renamed,
    rule_problems,
    selector_error,
    selects,
)
from isthmus.identity import SpiffeId

_PROTOCOLS = frozenset(("HTTP", "HTTP2", "GRPC", "GRPC-WEB", "HTTPS", "TLS", "TCP", "MONGO", "REDIS", "MYSQL", "UDP"))
"""The words of Istio's port names."""
_APP_PROTOCOLS = {"kubernetes.io/h2c": "HTTP2", "kubernetes.io/ws": "HTTP", "kubernetes.io/wss": "HTTPS"}


@dataclass(frozen=True, slots=True)
class LocalPort:
    """One port of a Service of this cluster. ``protocol`` is Kubernetes' (TCP, UDP, SCTP)."""

    name: str
    port: int
    protocol: str = "TCP"
    app_protocol: str = ""


@dataclass(frozen=True, slots=True)
class LocalService:
    """A Service of this cluster, as far as sharing it goes."""

    name: QualifiedName
    ports: tuple[LocalPort, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    export_to: str = ""
    """The annotation ``networking.istio.io/exportTo``: who may see the Service inside the mesh; empty for all."""
    is_external: bool = False
    """An ExternalName: it names something outside of the mesh."""
    is_federation: bool = False
    """It belongs to what carries the mesh: an import, a gateway, the control plane, the Kubernetes API."""
    health: Health | None = None
    """Its pods as peers are told of them; None while nothing is known of them."""
    locality: Locality | None = None
    """Where its pods are; None while that is unknown, or in several regions."""

    def can_be_exported(self, system_namespace: str) -> bool:
        """Whether any rule may export it: of this mesh, visible to its control plane, and not federation's own."""
        own = not (self.is_external or self.is_federation)
        return own and _visible(self.export_to, self.name.namespace, system_namespace)


@dataclass(frozen=True, slots=True)
class ExportRules:
    """The usable rules of an ExportedServiceSet, and what is wrong with the others."""

    rules: tuple[Callable[[LocalService], QualifiedName | None], ...] = ()
    problems: tuple[Problem, ...] = ()
    indexes: tuple[int, ...] = ()
    """Where each usable rule stands in the set."""

    @classmethod
    def of(cls, rules: Iterable[ExportRule]) -> "ExportRules":
        """Make rules ready for use; one that cannot be used is left out and told of, and the others count."""
        given = tuple(rules)
        reasons = [_unusable(rule) for rule in given]
        usable = [index for index, why in enumerate(reasons) if not why]
        scopes = [None if why else _scope(rule) for rule, why in zip(given, reasons, strict=True)]
        return cls(
            rules=tuple(_matcher(given[index]) for index in usable),
            problems=rule_problems("exportRules", reasons, scopes),
            indexes=tuple(usable),
        )

    def deciding(self, service: LocalService) -> int | None:
        """The index, in the set, of the rule that exports the service; None if none does."""
        matches = (index for index, rule in zip(self.indexes, self.rules, strict=True) if rule(service) is not None)
        return next(matches, None)

    def exported_name(self, service: LocalService) -> QualifiedName | None:
        """The name under which the service is exported, or None if no rule exports it."""
        for rule in self.rules:
            name = rule(service)
            if name is not None:
                return name
        return None


def export_message(
    service: LocalService, name: QualifiedName, *, peer: str, accounts: Iterable[SpiffeId]
) -> ServiceMessage:
    """The service as ``peer`` is told of it: its exported name, its TCP ports, and who will answer for it."""
    return ServiceMessage(
        name=name.name,
        namespace=name.namespace,
        hostname=exported_hostname(name.name, name.namespace, peer),
        service_ports=tuple(
            ServicePort(name=port.name, port=port.port, protocol=port_protocol(port))
            for port in service.ports
            if port.protocol == "TCP"
        ),
        service_accounts=tuple(sorted(str(account) for account in accounts)),
        health=service.health,
        locality=service.locality,
    )


def port_protocol(port: LocalPort) -> str:
    """What is spoken on a port: from ``appProtocol``, else from the prefix of its name, else what carries it.

    Source: docs/protocol.md §2, ``protocol``.
    """
    if port.app_protocol:
        said = _APP_PROTOCOLS.get(port.app_protocol, port.app_protocol.upper())
        return said if said in _PROTOCOLS else port.protocol
    name = port.name.upper()
    if name.startswith("GRPC-WEB"):
        return "GRPC-WEB"
    prefix = name.split("-", 1)[0]
    return prefix if prefix in _PROTOCOLS else port.protocol


def _matcher(rule: ExportRule) -> Callable[[LocalService], QualifiedName | None]:
    if rule.type == "NameSelector" and rule.name_selector is not None:
        return _by_name(rule.name_selector)
    return _by_label(rule.label_selector or LabelledServices())


def _by_name(selector: NameSelector) -> Callable[[LocalService], QualifiedName | None]:
    def match(service: LocalService) -> QualifiedName | None:
        return renamed(service.name, selector.alias) if selects(selector, service.name) else None

    return match


def _by_label(selector: LabelledServices) -> Callable[[LocalService], QualifiedName | None]:
    anywhere = NameSelector(namespace=selector.namespace)

    def match(service: LocalService) -> QualifiedName | None:
        if not (selects(anywhere, service.name) and labels_match(selector.selector, service.labels)):
            return None
        alias = next((each.alias for each in selector.aliases if selects(each, service.name)), None)
        return renamed(service.name, alias)

    return match


def _scope(rule: ExportRule) -> Scope:
    if rule.type == "NameSelector" and rule.name_selector is not None:
        return name_scope(rule.name_selector)
    labelled = rule.label_selector or LabelledServices()
    return label_scope(labelled.namespace, labelled.selector)


def _unusable(rule: ExportRule) -> str:
    if rule.type == "NameSelector":
        return "" if rule.name_selector else "its type is NameSelector, give it a nameSelector"
    if rule.label_selector is None:
        return "its type is LabelSelector, give it a labelSelector"
    return selector_error(rule.label_selector.selector)


def _visible(export_to: str, namespace: str, system_namespace: str) -> bool:
    """Whether the control plane's namespace is among those that ``exportTo`` names (``.`` is the Service's own)."""
    if not export_to.strip():
        return True
    allowed = {each.strip() for each in export_to.split(",")}
    return "*" in allowed or system_namespace in allowed or ("." in allowed and namespace == system_namespace)
