"""The control plane's orders to the agents of its gateways."""

from datetime import timedelta

from lightkube.models.discovery_v1 import Endpoint, EndpointConditions
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.discovery_v1 import EndpointSlice
from tests.kube.unconnected import unconnected
from tests.probe.peer import OUR_EGRESS, POD, RED, GreenCa, Us, now, order

from isthmus.federation.peer import Mesh
from isthmus.identity import TrustBundle, TrustDomain
from isthmus.mutual_tls import server_context
from isthmus.pilot.cluster import SERVICE_NAME, Cluster
from isthmus.pilot.probes import Probes
from isthmus.pilot.settings import Settings
from isthmus.pilot.tls import OwnTls
from isthmus.pilot.trust import OwnIdentity
from isthmus.probe import AGENT_PORT, serve_agent

NEW = TrustDomain("new.local")
NAMESPACE = "red-mesh-system"
EGRESS_PODS = EndpointSlice(
    metadata=ObjectMeta(name="egress-1", namespace=NAMESPACE, labels={SERVICE_NAME: "egress"}),
    addressType="IPv4",
    endpoints=[Endpoint(addresses=[POD], conditions=EndpointConditions(ready=True))],
)


async def test_a_gateway_of_the_former_trust_domain_is_asked() -> None:
    """A mesh moves to another trust domain: its gateway's pods are new, the control plane's not yet, or the reverse."""
    us = Us()
    mesh = Mesh("red-mesh", NAMESPACE, TrustBundle.of(NEW, us.authority.roots), aliases=(RED,))
    settings = Settings(
        mesh="red-mesh", namespace=NAMESPACE, trust_domain=NEW, pod_name="istiod-0", pod_ip="127.83.0.9"
    )
    tls = OwnTls(OwnIdentity(us.authority, settings, mesh.pilot_account), mesh.bundle)
    former = us.authority.issue_svid(OUR_EGRESS, lifetime=timedelta(hours=1), now=now())
    context = server_context(former, client_roots=mesh.bundle)
    async with (
        unconnected() as client,
        serve_agent(us.prober, context, host=POD, port=AGENT_PORT, admitted=mesh.pilot_accounts),
    ):
        cluster = Cluster(client, namespace=NAMESPACE)
        cluster.slices.put(EGRESS_PODS)
        probes = Probes(mesh, cluster, tls, pod_ip=settings.pod_ip)
        assert (await probes.client("egress").probe(order(GreenCa(), 1))).pod == us.pod.name
