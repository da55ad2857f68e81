"""Two meshes in one cluster, each the other's peer: red has a CA of its own making, green an intermediate's."""

import json
import re
import signal
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.e2e.conftest import BIN, REPOSITORY, Site, eventually, processes_with

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(180)]
CLUSTER = "one"
KEY_USAGE = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True)
class OneCluster(Site):
    """A mesh of the cluster that both live in; ``trust_domain`` is that of both, if they have one."""

    trust_domain: str = ""

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> Any:
        return self.kubectl_anywhere("-n", self.namespace, *arguments, stdin=stdin, check=check)

    def kubectl_anywhere(self, *arguments: str, stdin: str | None = None, check: bool = True) -> Any:
        """Kubectl for the whole cluster."""
        kubeconfig = self.data_dir / CLUSTER / "kubeconfig"
        command = [str(BIN / "kubectl"), "--kubeconfig", str(kubeconfig), *arguments]
        return subprocess.run(command, input=stdin, check=check, capture_output=True, text=True, timeout=60)

    def apply(self, name: str) -> None:
        """Apply an example of two clusters, with the peer in our own."""
        text = (self.files / name).read_text().replace(f"apps.{self.other}.test", f"apps.{CLUSTER}.test")
        if self.trust_domain:
            text = re.sub(r"(red|green)-mesh\.local", self.trust_domain, text)
        self.kubectl_anywhere("apply", "-f", "-", stdin=text)

    def answer(self) -> tuple[int, str]:
        """Status and server of the last answer of the client."""
        lines = self.kubectl("logs", "-n", "bookinfo", "deploy/client", "--tail=1").stdout.splitlines()
        said = json.loads(lines[-1]) if lines else {}
        return said.get("status", 0), said.get("body", {}).get("servedBy", "")

    def imports(self) -> dict[str, str]:
        """The Services of its imports: uid by name."""
        found = self.get("services", "-l", "isthmus.io/peer")["items"]
        return {each["metadata"]["name"]: each["metadata"]["uid"] for each in found}


def certificate(name: str, issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None, depth: int) -> Any:
    """A CA's certificate and key, signed by ``issuer`` or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=depth), critical=True)
        .add_extension(KEY_USAGE, critical=True)
    )
    return builder.sign(issuer[1] if issuer else key, hashes.SHA256()), key


def bring_ca(site: Site, root: Any, folder: Path) -> None:
    """Put an intermediate CA into Secret ``cacerts``, as an administrator with a CA of their own does."""
    intermediate, key = certificate(f"{site.name} intermediate", root, 0)
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    chain = intermediate.public_bytes(pem)
    content = {"ca-cert": chain, "ca-key": private, "cert-chain": chain, "root-cert": root[0].public_bytes(pem)}
    for name, data in content.items():
        (folder / f"{name}.pem").write_bytes(data)
    files = [f"--from-file={name}.pem={folder / name}.pem" for name in content]
    site.kubectl("create", "secret", "generic", "cacerts", *files)


def give_root(giver: Site, taker: Site) -> None:
    """The root of one mesh into a ConfigMap of the other."""
    root = giver.get("configmap", "istio-ca-root-cert")["data"]["root-cert.pem"]
    taker.kubectl("create", "configmap", f"{giver.mesh}-ca-root-cert", f"--from-literal=root-cert.pem={root}")


def start_meshes(red: OneCluster, green: OneCluster, with_root: dict[str, Any]) -> None:
    """What the administrators of the cluster and of both meshes do; ``with_root``: the roots that they bring."""
    crds = subprocess.run([str(BIN / "isthmus"), "crds"], check=True, capture_output=True, text=True).stdout
    red.kubectl_anywhere("apply", "--server-side", "-f", "-", stdin=crds)
    red.kubectl_anywhere("apply", "-f", str(REPOSITORY / "deploy" / "operator.yaml"))
    for site in (red, green):
        site.apply("namespaces.yaml")
    for site in (red, green):
        if site.name in with_root:
            bring_ca(site, with_root[site.name], site.data_dir)
    for site, names in ((red, ("kube-dns.yaml", "client.yaml")), (green, ("ratings.yaml",))):
        for name in ("smcp.yaml", *names):
            site.apply(name)
    for site in (red, green):
        site.kubectl("wait", "--for=condition=Ready", f"smcp/{site.mesh}", "--timeout=60s")


def federate(red: OneCluster, green: OneCluster) -> None:
    """Each the other's peer, and green's ratings for red."""
    red.apply("servicemeshpeer.yaml")
    green.apply("servicemeshpeer.yaml")
    green.apply("exportedserviceset.yaml")
    red.apply("importedserviceset.yaml")


@contextmanager
def cluster(trust_domain: str = "") -> Iterator[tuple[OneCluster, OneCluster]]:
    """A cluster for both."""
    with tempfile.TemporaryDirectory(prefix="isthmus-e2e-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with (folder / "lab.log").open("wb") as log:
            command = [str(BIN / "isthmus"), "lab", "up", CLUSTER, "--foreground", "--data-dir", name]
            with subprocess.Popen(command, stdout=log, stderr=log) as process:
                try:
                    eventually((folder / CLUSTER / "ready").exists, what="the cluster is ready")
                    yield (
                        OneCluster("red", "green", folder, trust_domain),
                        OneCluster("green", "red", folder, trust_domain),
                    )
                finally:
                    process.send_signal(signal.SIGTERM)
        assert processes_with(name) == []


@pytest.fixture(scope="module")
def meshes() -> Iterator[tuple[OneCluster, OneCluster]]:
    with cluster() as (red, green):
        start_meshes(red, green, {"green": certificate("green root", None, 1)})
        give_root(red, green)
        give_root(green, red)
        federate(red, green)
        eventually(lambda: red.answer()[0] == 200, what="the first request")
        yield red, green


Meshes = tuple[OneCluster, OneCluster]


def test_a_request_crosses_from_mesh_to_mesh(meshes: Meshes) -> None:
    """Red's client is answered by green through both meshes' gateways, and both links are active in both directions."""
    red, green = meshes
    assert red.answer() == (200, "green-mesh")
    eventually(lambda: red.is_active() and green.is_active())
    assert "outbound_.9080_._.ratings.bookinfo.svc.red-mesh-exports.local" in green.logs("ingress-red-mesh")


def test_a_gateway_sends_its_whole_chain(meshes: Meshes) -> None:
    """Who knows green's root alone can verify green's ingress gateway: the intermediate comes with the certificate."""
    _, green = meshes
    address = green.get("service", "ingress-red-mesh")["status"]["loadBalancer"]["ingress"][0]["ip"]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=green.get("configmap", "istio-ca-root-cert")["data"]["root-cert.pem"])
    with socket.create_connection((address, 8188), timeout=10) as raw, context.wrap_socket(raw) as connection:
        leaf = x509.load_der_x509_certificate(connection.getpeercert(binary_form=True) or b"")
    assert leaf.issuer.rfc4514_string() == "CN=green intermediate"


def test_meshes_of_one_root_and_one_trust_domain() -> None:
    """A peer of our own trust domain is vouched for by our own root: nothing is given from one mesh to the other."""
    root = certificate("root of all", None, 1)
    with cluster("corp.local") as (red, green):
        start_meshes(red, green, {"red": root, "green": root})
        federate(red, green)
        eventually(lambda: red.answer() == (200, "green-mesh"), what="the first request")
        eventually(lambda: red.is_active() and green.is_active())
        client = "spiffe://corp.local/ns/red-mesh-system/sa/egress-green-mesh-service-account"
        eventually(lambda: client in green.logs("ingress-red-mesh"), what="the ingress gateway saw red's egress")
        green.patch_peer(security={"clientID": "corp.local/ns/red-mesh-system/sa/someone-else"})
        eventually(lambda: red.answer()[0] == 0, what="another identity of the same root is not red's")


EXPORT_ALL = """
kind: ExportedServiceSet
apiVersion: federation.maistra.io/v1
metadata: {name: green-mesh}
spec: {exportRules: [{type: NameSelector, nameSelector: {namespace: "*", name: "*"}}]}
"""
IMPORT_RATINGS = """
kind: ImportedServiceSet
apiVersion: federation.maistra.io/v1
metadata: {name: red-mesh}
spec: {importRules: [{type: NameSelector, nameSelector: {namespace: bookinfo, name: ratings}}]}
"""


def test_what_one_mesh_imports_is_not_the_others(meshes: Meshes) -> None:
    """An export of everything has no import of either mesh, and neither control plane touches what the other made."""
    red, green = meshes
    red.kubectl("apply", "-f", "-", stdin=EXPORT_ALL)
    green.kubectl("apply", "-f", "-", stdin=IMPORT_RATINGS)
    eventually(green.imports, what="green imports ratings of red")
    exported = red.get("exportedserviceset", "green-mesh")["status"]["exportedServices"]
    imported = {*red.imports(), *green.imports()}
    assert "ratings" in {each["localService"]["name"] for each in exported}
    assert not imported & {each["localService"]["name"] for each in exported}


def test_a_restart_of_one_mesh_leaves_the_others_imports(meshes: Meshes) -> None:
    """A control plane that starts anew takes up its own imports, and lets the other mesh's be."""
    red, green = meshes
    if not green.imports():
        red.kubectl("apply", "-f", "-", stdin=EXPORT_ALL)
        green.kubectl("apply", "-f", "-", stdin=IMPORT_RATINGS)
        eventually(green.imports, what="green imports ratings of red")
    before = (red.imports(), green.imports())
    for site in (red, green):
        site.kubectl("rollout", "restart", f"deploy/istiod-{site.mesh}")
        site.kubectl("rollout", "status", f"deploy/istiod-{site.mesh}", "--timeout=60s")
    eventually(lambda: red.is_active() and green.is_active(), what="active again")
    eventually(lambda: red.answer()[0] == 200, what="answered again")
    assert (red.imports(), green.imports()) == before
    for site in (red, green):
        log = site.logs(f"istiod-{site.mesh}")
        assert "orbidden" not in log
        assert "import removed" not in log


def test_one_mesh_goes_and_the_other_stays(meshes: Meshes) -> None:
    """Deleting green's control plane takes what is green's, cluster-scoped roles too, and nothing of red's."""
    red, green = meshes
    own, others = (f"istiod-{site.mesh}-{site.namespace}" for site in (red, green))
    assert cluster_roles(red) == {own, others}
    green.kubectl("delete", "smcp", green.mesh)
    try:
        eventually(lambda: not green.get("deployments")["items"], what="green is gone")
        eventually(lambda: cluster_roles(red) == {own}, what="green's cluster role is gone")
        assert len(red.get("deployments")["items"]) == 3
        assert red.imports()
    finally:
        green.apply("smcp.yaml")
        # What red was answered, and what green's peer says, may be of before.
        green.kubectl("wait", "--for=condition=Ready", f"smcp/{green.mesh}", "--timeout=60s")
        eventually(lambda: red.answer()[0] == 200 and green.is_active(), within_s=60, what="green is back")


def cluster_roles(site: Site) -> set[str]:
    """The names of the meshes' ClusterRoles."""
    found = site.get("clusterroles", "-l", "app.kubernetes.io/part-of")["items"]
    return {each["metadata"]["name"] for each in found}
