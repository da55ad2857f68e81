"""Orders to the egress gateways' agents, from what a peer's resource means."""

from typing import Final

from isthmus.federation.findings import Fault, ProbeReport
from isthmus.federation.link_causes import Expected
from isthmus.federation.messages import ServiceMessage
from isthmus.federation.names import outbound_sni
from isthmus.federation.peer import Mesh, PeerConfig
from isthmus.federation.plan import Endpoint
from isthmus.pilot.cluster import Cluster
from isthmus.pilot.tls import OwnTls
from isthmus.probe import AGENT_PORT, MAX_ADDRESSES, GatewayAgent, ProbeClient, ProbeOrder

TIMEOUT_S: Final = 4.0
"""For one attempt: longer than a handshake on any network that is in use, shorter than who waits has patience."""

NOBODY: Final = "probe.isthmus"
"""Name and namespace of a service that nobody exports."""


class Probes:
    """Has the egress gateway of a peer try the way to it."""

    def __init__(self, mesh: Mesh, cluster: Cluster, tls: OwnTls, *, pod_ip: str) -> None:
        """``pod_ip`` is the address to call from."""
        self._mesh = mesh
        self._cluster = cluster
        self._tls = tls
        self._pod_ip = pod_ip

    async def probe(self, config: PeerConfig, *, path: str) -> ProbeReport:
        """Try all addresses of the peer; raises AgentError: no pod of the gateway could be asked."""
        remote = config.remote
        order = ProbeOrder(
            addresses=tuple(endpoint.host for endpoint in remote.discovery[:MAX_ADDRESSES]),
            port=remote.discovery[0].port,
            server_name=remote.discovery_name,
            path=path,
            trust_domain=str(remote.bundle.trust_domain),
            roots=remote.bundle.pem().decode(),
            timeout_s=TIMEOUT_S,
        )
        return await self.client(config.egress).probe(order)

    async def calls(self, config: PeerConfig, service: ServiceMessage) -> ProbeReport:
        """Try the port for services, up to the peer's certificate; ``service`` tells whose it may be.

        The name asked for is exported to nobody, lest a pod of the peer see a call. A peer of another make has no
        place for such a name: do not ask one. Raises AgentError: no pod of the gateway could be asked.
        """
        suffix = service.hostname.partition(".svc.")[2]
        return await self.call_of(config, service, outbound_sni(f"{NOBODY}.svc.{suffix}", 1))

    async def call_of(self, config: PeerConfig, service: ServiceMessage, server_name: str) -> ProbeReport:
        """Try the port for services under this name, up to the peer's certificate; raises AgentError likewise."""
        remote = config.remote
        order = ProbeOrder(
            addresses=tuple(endpoint.host for endpoint in remote.services[:MAX_ADDRESSES]),
            port=remote.services[0].port,
            server_name=server_name,
            path="",
            trust_domain=str(remote.bundle.trust_domain),
            roots=remote.bundle.pem().decode(),
            identities=service.service_accounts,
            timeout_s=TIMEOUT_S,
        )
        return await self.client(config.egress).probe(order)

    async def way(self, config: PeerConfig) -> ProbeReport:
        """What the way to a peer is like; one of another make does not know ``/v1/peer``, and is asked as it knows.

        Raises AgentError: no pod of the gateway could be asked.
        """
        report = await self.probe(config, path="/v1/peer")
        if any(each.fault is Fault.STATUS and each.status == 404 for each in report.attempts):
            return await self.probe(config, path="/v1/watch")
        return report

    def expected(self, config: PeerConfig) -> Expected:
        """What should be found on the way."""
        return Expected(
            gateway=config.egress,
            identity=str(self._mesh.gateway_account(config.egress)),
            trust_domain=str(config.remote.bundle.trust_domain),
            roots=config.remote.bundle.fingerprints(),
        )

    def client(self, gateway: str) -> ProbeClient:
        """Who gives orders to the agents of one gateway."""
        agent = GatewayAgent(
            name=gateway,
            identities=self._mesh.gateway_accounts(gateway),
            endpoints=lambda: [Endpoint(each, AGENT_PORT) for each in self._cluster.pod_addresses(gateway)],
            context=self._tls.client,
            local_address=self._pod_ip,
        )
        return ProbeClient(agent)
