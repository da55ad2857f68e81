"""Plans to make resources of: two meshes red and blue that green lets in and calls, always the same."""

from pathlib import Path

from isthmus.federation.plan import (
    AdmittedPeer,
    ControlPlane,
    EgressPlan,
    Endpoint,
    ExportTarget,
    ImportedPort,
    IngressPlan,
    RemotePeer,
)
from isthmus.identity import SpiffeId, TrustBundle, TrustDomain

ROOTS = Path(__file__).parent / "roots"
BIND_ADDRESS = "127.10.0.7"


def bundle(mesh: str) -> TrustBundle:
    """The roots of ``<mesh>.local``, from a file: the same in each run."""
    return TrustBundle.parse(TrustDomain(f"{mesh}.local"), (ROOTS / f"{mesh}.pem").read_bytes())


def account(mesh: str, name: str) -> SpiffeId:
    """The identity of a service account of ``<mesh>``."""
    return SpiffeId.service_account(TrustDomain(f"{mesh}.local"), namespace=f"{mesh}-mesh-system", account=name)


CONTROL_PLANE = ControlPlane(
    "istiod-green-mesh.green-mesh-system.svc.cluster.local", account("green", "istiod-green-mesh")
)


def admitted(mesh: str) -> AdmittedPeer:
    """A mesh that may call us."""
    return AdmittedPeer(f"{mesh}-mesh", account(mesh, "egress-green-mesh-service-account"), bundle(mesh))


def remote(mesh: str, *hosts: str, checksum: int = 1234567890123456789) -> RemotePeer:
    """A mesh that we call, at these addresses."""
    return RemotePeer(
        name=f"{mesh}-mesh",
        discovery_name=f"discovery.green-mesh-system.svc.{mesh}-mesh.local",
        remote_checksum=checksum,
        discovery=tuple(Endpoint(host, 8188) for host in hosts),
        services=tuple(Endpoint(host, 15443) for host in hosts),
        bundle=bundle(mesh),
    )


RED = remote("red", "ingress-green-mesh.red-mesh-system.apps.example.com")
BLUE = remote("blue", "192.0.2.20", "192.0.2.10", "2001:db8::10", checksum=18446744073709551615)
RATINGS = ImportedPort(
    gateway_port=16000,
    peer="red-mesh",
    hostname="ratings.bookinfo.svc.green-mesh-exports.local",
    service_port=9080,
    servers=(account("red", "ingress-green-mesh-service-account"), account("red", "another-service-account")),
)
DETAILS = ImportedPort(
    gateway_port=16001,
    peer="blue-mesh",
    hostname="details.bookinfo.svc.green-mesh-exports.local",
    service_port=443,
    servers=(account("blue", "ingress-green-mesh-service-account"),),
)
REVIEWS = ExportTarget("bookinfo", "reviews", 9080)

INGRESS_OF_ONE = IngressPlan(CONTROL_PLANE, (admitted("red"),))
INGRESS_OF_TWO = IngressPlan(CONTROL_PLANE, (admitted("red"), admitted("blue")))
INGRESS_THAT_INVITES = IngressPlan(
    CONTROL_PLANE, (admitted("red"),), enrolment="enrol.green-mesh-system.svc.green-mesh.local"
)
EGRESS = EgressPlan(CONTROL_PLANE, (RED, BLUE), {RATINGS.gateway_port: RATINGS, DETAILS.gateway_port: DETAILS})
EGRESS_OF_NONE = EgressPlan(CONTROL_PLANE)
