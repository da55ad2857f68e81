"""The settings of a gateway, for tests of the pure parts."""

from pathlib import Path

from isthmus.gateway import DnsServer, GatewaySettings, Role
from isthmus.identity import TrustDomain

SETTINGS = GatewaySettings(
    name="egress-green-mesh",
    role=Role.EGRESS,
    mesh="red-mesh",
    namespace="gateways",
    control_plane_namespace="red-mesh-system",
    trust_domain=TrustDomain("red-mesh.local"),
    pilot="istiod-red-mesh.red-mesh-system.svc.cluster.local",
    pod_name="egress-green-mesh-7d4f-x2x9k",
    pod_ip="127.10.0.7",
    token_path=Path("/var/run/secrets/tokens/istio-token"),
    root_path=Path("/var/run/secrets/istio/root-cert.pem"),
    dns_server=DnsServer("127.10.0.53", 5353),
)
