"""What one control-plane process is told at its start."""

from dataclasses import dataclass
from datetime import timedelta

from isthmus.identity import TrustDomain

DISCOVERY_PORT = 8188
XDS_PORT = 15011
CA_PORT = 15012
MONITORING_PORT = 15014
DNS_PORT = 15053


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One pod ``istiod-<mesh>``. It listens on ``pod_ip`` only, at the ports above."""

    mesh: str
    namespace: str
    trust_domain: TrustDomain
    pod_name: str
    pod_ip: str
    trust_domain_aliases: tuple[TrustDomain, ...] = ()
    cluster_domain: str = "cluster.local"
    certificate_lifetime: timedelta = timedelta(hours=24)
    """How long certificates of workloads and of this process are valid; they are renewed at half of it."""

    @property
    def service_names(self) -> tuple[str, ...]:
        """The names under which the mesh's own gateways call us; our serving certificate carries them."""
        service = f"istiod-{self.mesh}.{self.namespace}"
        return (f"{service}.svc", f"{service}.svc.{self.cluster_domain}", service)

    @property
    def host(self) -> str:
        """The full name of our Service."""
        return self.service_names[1]
