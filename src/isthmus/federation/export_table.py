"""All that one mesh exports to one peer: kept up to date service by service.

The rules say what a service is called; this table knows which services there are, who wins where two claim one name,
and where an exported port leads. A change of one service costs the rules that look at it, whatever else is exported.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from isthmus.api.selectors import LocalService as LocalServiceStatus
from isthmus.api.selectors import ServiceMapping
from isthmus.federation.exports import ExportRules, LocalService, export_message
from isthmus.federation.listing import Listing
from isthmus.federation.messages import ServiceMessage
from isthmus.federation.names import exported_hostname, outbound_sni, parse_sni
from isthmus.federation.plan import ExportTarget
from isthmus.federation.selection import QualifiedName
from isthmus.identity import SpiffeId


@dataclass(frozen=True, slots=True)
class _Claim:
    """A service and the name under which it would be exported."""

    service: LocalService
    exported: QualifiedName


@dataclass(frozen=True, slots=True)
class LostClaim:
    """A service that is not exported because ``winner`` has the host name that it would have."""

    service: LocalService
    winner: QualifiedName
    hostname: str


@dataclass(frozen=True, slots=True)
class ExportChange:
    """What the peer is told of one exported host name, before and after; None where it is told nothing."""

    hostname: str
    before: ServiceMessage | None
    after: ServiceMessage | None

    @property
    def server_names(self) -> list[str]:
        """All server names whose meaning may be another now."""
        messages = [message for message in (self.before, self.after) if message is not None]
        ports = sorted({port.port for message in messages for port in message.service_ports})
        return [self.hostname, *(outbound_sni(self.hostname, port) for port in ports)]


def _service_name(claim: _Claim) -> QualifiedName:
    return claim.service.name


class ExportTable:
    """Exports to ``peer`` (our name for it), as the control plane in ``system_namespace`` decides them.

    Every method that changes something returns what became of the exports.
    """

    def __init__(self, peer: str, *, system_namespace: str, cluster_domain: str = "cluster.local") -> None:
        self.peer = peer
        self.rules = ExportRules()
        self._system_namespace = system_namespace
        self._cluster_domain = cluster_domain
        self._accounts: tuple[SpiffeId, ...] = ()
        self._claims: dict[str, tuple[_Claim, ...]] = {}
        """By host name, sorted by service: the first has the name."""
        self._published: dict[str, ServiceMessage] = {}
        self._leads_to: dict[str, QualifiedName] = {}
        self._hostname_of: dict[QualifiedName, str] = {}
        self._contested: set[str] = set()
        self._portless: dict[str, LocalService] = {}
        self.listing: Listing[tuple[QualifiedName, str]] = Listing()
        """:meth:`status` as JSON, kept up to date entry by entry; by service and exported host name."""

    def configure(
        self, rules: ExportRules, accounts: Iterable[SpiffeId], services: Iterable[LocalService]
    ) -> list[ExportChange]:
        """Export by these rules, in the name of these ingress identities; ``services`` are all that there are."""
        self.rules = rules
        self._accounts = tuple(accounts)
        before = set(self._claims)
        self._claims.clear()
        self._hostname_of.clear()
        self._contested.clear()
        for service in services:
            self._claim(service)
        hostnames = sorted(before | self._claims.keys())
        return [change for hostname in hostnames for change in self._publish(hostname)]

    def service_changed(self, service: LocalService) -> list[ExportChange]:
        """A service is new, or another than it was."""
        before = self._release(service.name)
        after = self._claim(service)
        changed = dict.fromkeys(hostname for hostname in (before, after) if hostname)
        return [change for hostname in changed for change in self._publish(hostname)]

    def service_gone(self, name: QualifiedName) -> list[ExportChange]:
        """A service is there no longer."""
        hostname = self._release(name)
        return self._publish(hostname) if hostname else []

    def messages(self) -> Iterable[ServiceMessage]:
        """All that the peer is told."""
        return self._published.values()

    def target(self, server_name: str) -> ExportTarget | None:
        """Where a server name that the peer asks for leads, or None if nothing of that name is exported to it.

        A name without a port means the only port, or the first (docs/protocol.md §3).
        """
        requested = parse_sni(server_name)
        winner = self._winner(requested.hostname)
        if winner is None:
            return None
        ports = [port.port for port in winner.service.ports if port.protocol == "TCP"]
        port = requested.port if requested.port is not None else next(iter(ports), None)
        if port not in ports or port is None:
            return None
        return ExportTarget(winner.service.name.namespace, winner.service.name.name, port)

    def status(self) -> tuple[ServiceMapping, ...]:
        """``status.exportedServices``: sorted by local namespace, then name; no exported name twice."""
        winners = [winner for hostname in self._claims if (winner := self._winner(hostname)) is not None]
        return tuple(self._mapping(claim) for claim in sorted(winners, key=lambda claim: claim.service.name))

    def losers(self) -> list[LostClaim]:
        """Services that are not exported because another has their exported name, sorted."""
        lost = [
            LostClaim(claim.service, winner.service.name, hostname)
            for hostname in self._contested
            for winner, *others in [self._claims[hostname]]
            for claim in others
        ]
        return sorted(lost, key=lambda each: each.service.name)

    def portless(self) -> list[LocalService]:
        """Services that are exported and have no TCP port, so that no peer can use them, sorted."""
        return sorted(self._portless.values(), key=lambda each: each.name)

    def _claim(self, service: LocalService) -> str | None:
        exported = self.rules.exported_name(service) if service.can_be_exported(self._system_namespace) else None
        if exported is None:
            return None
        hostname = exported_hostname(exported.name, exported.namespace, self.peer)
        claims = (*self._claims.get(hostname, ()), _Claim(service, exported))
        self._claims[hostname] = tuple(sorted(claims, key=_service_name))
        if len(claims) > 1:
            self._contested.add(hostname)
        self._hostname_of[service.name] = hostname
        return hostname

    def _release(self, name: QualifiedName) -> str | None:
        hostname = self._hostname_of.pop(name, None)
        if hostname is not None:
            claims = tuple(claim for claim in self._claims.pop(hostname) if claim.service.name != name)
            if len(claims) < 2:
                self._contested.discard(hostname)
            if claims:
                self._claims[hostname] = claims
        return hostname

    def _winner(self, hostname: str) -> _Claim | None:
        """Of several services that claim one name, the first by namespace and name has it, on every replica."""
        return next(iter(self._claims.get(hostname, ())), None)

    def _publish(self, hostname: str) -> list[ExportChange]:
        before, after = self._published.pop(hostname, None), self._message(hostname)
        led_to, winner = self._leads_to.pop(hostname, None), self._winner(hostname)
        self._portless.pop(hostname, None)
        if led_to is not None:
            self.listing.discard((led_to, hostname))
        if after is not None and winner is not None:
            self._published[hostname] = after
            self._leads_to[hostname] = winner.service.name
            self.listing.put((winner.service.name, hostname), self._mapping(winner))
            if not after.service_ports:
                self._portless[hostname] = winner.service
        # Another service may say the very same of itself: the peer hears nothing, but the name leads elsewhere.
        same = before == after and led_to == self._leads_to.get(hostname)
        return [] if same else [ExportChange(hostname, before, after)]

    def _message(self, hostname: str) -> ServiceMessage | None:
        winner = self._winner(hostname)
        if winner is None:
            return None
        service = winner.service
        return export_message(service, winner.exported, peer=self.peer, accounts=self._accounts)

    def _mapping(self, claim: _Claim) -> ServiceMapping:
        name = claim.service.name
        hostname = f"{name.name}.{name.namespace}.svc.{self._cluster_domain}"
        return ServiceMapping(
            exported_name=exported_hostname(claim.exported.name, claim.exported.namespace, self.peer),
            local_service=LocalServiceStatus(name=name.name, namespace=name.namespace, hostname=hostname),
        )
