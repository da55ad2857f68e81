"""Which gateway an Envoy is, and what it is served: the xDS server's ``Clients``.

A gateway is known by its certificate alone: the identity ``…/ns/<our namespace>/sa/<gateway>-service-account``. Of what
it says of itself only the address to listen on is used, and whether it faces peers, which concern no one but itself.
"""

import ipaddress
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import cast

import structlog

from isthmus.api.logs import AccessLogFile
from isthmus.federation.export_table import ExportTable
from isthmus.federation.invitation import enrolment_name
from isthmus.federation.peer import Mesh, PeerConfig
from isthmus.federation.plan import ControlPlane, EgressPlan, IngressPlan
from isthmus.identity import IdentityError, SpiffeId
from isthmus.pilot.gateway_tables import Egress, EndpointsOf, Ingress, Pods
from isthmus.xds import Rejection, ResourceTable

log = structlog.get_logger(__name__)

_SUFFIX = "-service-account"


class Gateways:
    """All gateways of the mesh, by the name that peers give them."""

    def __init__(self, mesh: Mesh, host: str, *, exports: Mapping[str, ExportTable], endpoints: EndpointsOf) -> None:
        """``host`` is the DNS name of our Service; ``exports`` are the tables of all peers by name, live."""
        self._mesh = mesh
        self._control_plane = ControlPlane(host, mesh.pilot_account, aliases=mesh.pilot_accounts[1:])
        self._exports = exports
        self._endpoints = endpoints
        self._pods: dict[str, Pods] = {}
        self._egresses: dict[str, Egress] = {}
        self._streams: Counter[str] = Counter()
        self._peers: Sequence[PeerConfig] = ()
        self._inviting: frozenset[str] = frozenset()
        self._access_log = AccessLogFile()
        self._left_at: dict[str, float] = {}
        self._facing_peers: set[str] = set()
        self._rejections: dict[tuple[str, Hashable], dict[str, str]] = {}
        """By gateway and stream, which is one of its pods: the reasons by type."""
        self._subscribers: list[Callable[[str], None]] = []

    def plan(self, peers: Sequence[PeerConfig]) -> None:
        """Serve these peers and no others."""
        self._peers = peers
        self._replan()

    def invite(self, ingresses: frozenset[str]) -> None:
        """Take enrolments at these ingress gateways and no others; one that is some peer's egress takes none."""
        self._inviting = ingresses
        self._replan()

    def write_access_log(self, to: AccessLogFile) -> None:
        """Have all gateways write their access logs so, from now on; the format must be one that can be used."""
        self._access_log = to
        self._replan()

    def _replan(self) -> None:
        peers = self._peers
        inviting = self._inviting - {peer.egress for peer in peers}
        ingresses = {peer.ingress for peer in peers} | inviting
        egresses = {peer.egress for peer in peers} - ingresses
        for name, pods in self._pods.items():
            if name not in ingresses | egresses:
                self._vacate(name, pods)
        for name in sorted(ingresses):
            admitted = tuple(peer.admitted for peer in peers if peer.ingress == name)
            enrolment = enrolment_name(self._mesh.name, self._mesh.namespace) if name in inviting else ""
            self._ingress(name).update(IngressPlan(self._control_plane, admitted, enrolment, self._access_log))
        for name in sorted(egresses):
            remote = tuple(peer.remote for peer in peers if peer.egress == name)
            egress = self.egress(name)
            egress.update(EgressPlan(self._control_plane, remote, access_log=self._access_log))
            self._pods[name].assume(egress)

    def egress(self, name: str) -> Egress:
        """The egress gateway of that name; it serves only while :meth:`plan` has peers for it."""
        if name not in self._egresses:
            pods = self._pods.setdefault(name, Pods())
            self._egresses[name] = Egress(pods, EgressPlan(self._control_plane))
        return self._egresses[name]

    @property
    def streams(self) -> Mapping[str, int]:
        """How many streams each gateway has open: those that peers name, and all others that are connected."""
        named = {name for peer in self._peers for name in (peer.ingress, peer.egress)}
        return {name: self._streams[name] for name in sorted(named | {*+self._streams})}

    def ingresses(self) -> Iterator[Ingress]:
        """All ingress gateways."""
        return (pods.role for pods in self._pods.values() if isinstance(pods.role, Ingress))

    def admit(self, identities: Sequence[str], metadata: Mapping[str, str]) -> tuple[str, ResourceTable]:
        """The gateway that this certificate proves.

        Raises:
            PermissionError: it proves no gateway of this mesh, or no address to listen on was told.
        """
        name = self.name_of(identities)
        try:
            address = str(ipaddress.ip_address(metadata.get("POD_IP", "")))
        except ValueError as error:
            raise PermissionError(f"gateway {name} tells no address to listen on: POD_IP: {error}") from error
        pods = self._pods.setdefault(name, Pods())
        if metadata.get("ROLE") == "ingress":
            self._facing_peers.add(name)
        if pods.role is None:
            self._vacate(name, pods)
        return name, pods.table(address)

    def subscribe(self, subscriber: Callable[[str], None]) -> None:
        """Call ``subscriber`` with each gateway that connects, goes, or takes its configuration or does not."""
        self._subscribers.append(subscriber)

    def left_at(self, name: str) -> float:
        """When a gateway's last pod has gone, by the monotonic clock; 0 if none ever has."""
        return self._left_at.get(name, 0.0)

    def rejection(self, name: str) -> str:
        """Why a pod of a gateway keeps an older configuration than the last; empty if none does."""
        found = (
            reason
            for (gateway, _), by_type in self._rejections.items()
            if gateway == name
            for reason in by_type.values()
        )
        return next(found, "")

    def faces_peers(self, name: str) -> bool:
        """Whether peers call this gateway."""
        return name in self._pods and isinstance(self._pods[name].role, Ingress)

    def connected(self, client: str) -> None:
        """A gateway pod has connected."""
        self._streams[client] += 1
        log.info("gateway connected", gateway=client, peer=self._served_by(client), streams=self._streams[client])
        self._tell(client)

    def disconnected(self, client: str, stream: Hashable) -> None:
        """A gateway pod has gone."""
        self._pods[client].forget_unused()
        self._streams[client] -= 1
        log.info("gateway disconnected", gateway=client, peer=self._served_by(client), streams=self._streams[client])
        self._rejections.pop((client, stream), None)
        if not self._streams[client]:
            self._left_at[client] = time.monotonic()
        self._tell(client)

    def rejected(self, client: str, stream: Hashable, rejection: Rejection) -> None:
        """A gateway pod keeps its last good configuration because the new one cannot be used."""
        log.error(
            "gateway rejected configuration",
            gateway=client,
            peer=self._served_by(client),
            names=rejection.names[:5],
            reason=rejection.reason,
        )
        self._rejections.setdefault((client, stream), {})[rejection.type_url] = rejection.reason
        self._tell(client)

    def accepted(self, client: str, stream: Hashable, type_url: str) -> None:
        """A gateway pod has taken what it was sent last of a type."""
        if self._rejections.get((client, stream), {}).pop(type_url, None) is not None:
            self._tell(client)

    def _tell(self, name: str) -> None:
        for subscriber in self._subscribers:
            subscriber(name)

    def _served_by(self, gateway: str) -> str:
        """The peers that a gateway is for, as a line of the log names them."""
        return ", ".join(sorted(peer.name for peer in self._peers if gateway in {peer.ingress, peer.egress}))

    def _vacate(self, name: str, pods: Pods) -> None:
        """No peer names the gateway: if it faces peers, it says so to whoever calls, and does nothing else."""
        if name in self._facing_peers:
            self._ingress(name).update(IngressPlan(self._control_plane, access_log=self._access_log))
        else:
            pods.assume(None)

    def _ingress(self, name: str) -> Ingress:
        pods = self._pods.setdefault(name, Pods())
        if not isinstance(pods.role, Ingress):
            plan = IngressPlan(self._control_plane)
            pods.assume(Ingress(pods, plan, exports=self._exports, endpoints=self._endpoints))
        return cast("Ingress", pods.role)

    def name_of(self, identities: Sequence[str]) -> str:
        """The gateway that this certificate proves; raises PermissionError: it proves no gateway of this mesh."""
        for identity in identities:
            try:
                spiffe_id = SpiffeId.parse(identity)
            except IdentityError:
                continue
            account = spiffe_id.path.rpartition("/")[2]
            name = account.removesuffix(_SUFFIX)
            if name and name != account and spiffe_id in self._mesh.gateway_accounts(name):
                return name
        raise PermissionError(f"no gateway of {self._mesh.name} has the identity {', '.join(identities) or '(none)'}")
