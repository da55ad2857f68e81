"""The resources as values: what the documentation's YAML becomes, and what goes back on the wire."""

from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from lightkube.models.meta_v1 import ObjectMeta

from isthmus.api import ExportedServiceSet, ImportedServiceSet, ServiceMeshControlPlane, ServiceMeshPeer
from isthmus.api.meta import Condition, condition
from isthmus.api.peer import DiscoveryStatus, PeerStatus, PodDiscoveryStatus, RemoteStatus, WatchStatus

PEER = """
kind: ServiceMeshPeer
apiVersion: federation.maistra.io/v1
metadata: {name: green-mesh, namespace: red-mesh-system}
spec:
  remote: {addresses: [ingress-red-mesh.green-mesh-system.apps.domain.com]}
  gateways: {ingress: {name: ingress-green-mesh}, egress: {name: egress-green-mesh}}
  security:
    trustDomain: green-mesh.local
    clientID: green-mesh.local/ns/green-mesh-system/sa/egress-red-mesh-service-account
    certificateChain: {kind: ConfigMap, name: green-mesh-ca-root-cert}
"""

EXPORTS = """
kind: ExportedServiceSet
apiVersion: federation.maistra.io/v1
metadata: {name: green-mesh, namespace: red-mesh-system}
spec:
  exportRules:
  - type: NameSelector
    nameSelector: {namespace: red-mesh-bookinfo, name: red-ratings, alias: {namespace: bookinfo, name: ratings}}
  - type: LabelSelector
    labelSelector:
      namespace: red-mesh-bookinfo
      selector: {matchLabels: {export-service: "true"}}
      aliases: [{namespace: "*", name: "*", alias: {namespace: bookinfo}}]
"""

IMPORTS = """
kind: ImportedServiceSet
apiVersion: federation.maistra.io/v1
metadata: {name: red-mesh, namespace: green-mesh-system}
spec:
  locality: {region: us-west}
  importRules:
  - type: NameSelector
    importAsLocal: false
    nameSelector: {namespace: bookinfo, name: ratings, alias: {namespace: bookinfo, name: ratings}}
"""

CONTROL_PLANE = """
apiVersion: maistra.io/v2
kind: ServiceMeshControlPlane
metadata: {name: red-mesh, namespace: red-mesh-system}
spec:
  version: v2.6
  tracing: {type: Jaeger}
  runtime: {defaults: {container: {imagePullPolicy: Always}}}
  gateways:
    additionalEgress:
      egress-green-mesh:
        enabled: true
        requestedNetworkView: [network-green-mesh]
        service:
          metadata: {labels: {federation.maistra.io/egress-for: egress-green-mesh}}
          ports: [{port: 15443, name: tls}, {port: 8188, name: http-discovery}]
    additionalIngress:
      ingress-green-mesh:
        service:
          type: LoadBalancer
          metadata: {labels: {federation.maistra.io/ingress-for: ingress-green-mesh}}
          ports: [{port: 15443, name: tls}, {port: 8188, name: https-discovery, nodePort: 30188}]
  security: {trust: {domain: red-mesh.local}}
"""

DOCUMENTED = [
    pytest.param(ServiceMeshPeer, PEER, id="peer"),
    pytest.param(ExportedServiceSet, EXPORTS, id="exports"),
    pytest.param(ImportedServiceSet, IMPORTS, id="imports"),
]


T = TypeVar("T", bound=msgspec.Struct)


def parse(kind: type[T], text: str) -> T:
    """Read YAML as the kind."""
    return msgspec.convert(yaml.safe_load(text), kind)


def wire(value: msgspec.Struct) -> Any:
    """Return what goes over the wire, as JSON values."""
    return msgspec.json.decode(msgspec.json.encode(value))


@pytest.mark.parametrize(("kind", "text"), DOCUMENTED)
def test_documented_yaml_survives(kind: type[msgspec.Struct], text: str) -> None:
    """What the documentation shows comes back from the wire as it was, but for values equal to a default."""
    written, read = yaml.safe_load(text), wire(parse(kind, text))
    written["spec"].pop("importRules", [{}])[0].pop("importAsLocal", None)
    written["spec"].get("security", {}).get("certificateChain", {}).pop("kind", None)
    read["spec"].pop("importRules", None)
    assert read == written


def test_peer_as_documented() -> None:
    """A peer's identity is read as written, and its ports get their defaults without being written back."""
    peer = parse(ServiceMeshPeer, PEER)
    assert peer.spec.security.client_id.endswith("/sa/egress-red-mesh-service-account")
    assert (peer.spec.remote.discovery_port, peer.spec.remote.service_port) == (0, 0)
    assert (peer.spec.remote.effective_discovery_port, peer.spec.remote.effective_service_port) == (8188, 15443)
    assert "discoveryPort" not in wire(peer)["spec"]["remote"]


def test_root_config_map_defaults_to_the_name_of_the_peer() -> None:
    """A peer without certificateChain is vouched for by the ConfigMap <peer>-ca-root-cert."""
    peer = parse(ServiceMeshPeer, PEER.replace("name: green-mesh-ca-root-cert", 'name: ""'))
    assert peer.root_config_map == "green-mesh-ca-root-cert"


def test_control_plane_as_documented() -> None:
    """Gateways are enabled unless they say otherwise, and fields of other features do not disturb."""
    spec = parse(ServiceMeshControlPlane, CONTROL_PLANE).spec
    assert spec.security.trust.domain == "red-mesh.local"
    ingress = spec.gateways.additional_ingress["ingress-green-mesh"]
    assert ingress.enabled
    assert ingress.service.ports[1].node_port == 30188
    assert ingress.runtime.replicas == 1


@pytest.mark.parametrize("kind", [ExportedServiceSet, ImportedServiceSet])
@pytest.mark.parametrize("spec", ["{}", "{exportRules: null, importRules: null}", "{exportRules: [], importRules: []}"])
def test_sets_without_rules(kind: type[ExportedServiceSet] | type[ImportedServiceSet], spec: str) -> None:
    """A set may have no rules at all."""
    parse(kind, f"{{apiVersion: v1, kind: x, metadata: {{name: green-mesh}}, spec: {spec}}}")


def test_status_shape() -> None:
    """The status of a peer has the documented shape, an empty list being present."""
    when = datetime(2021, 10, 5, 13, 2, 25, tzinfo=UTC)
    status = PeerStatus(
        discovery_status=DiscoveryStatus(
            active=(
                PodDiscoveryStatus(
                    pod="istiod-red-mesh-b65457658-9wq5j",
                    remotes=(RemoteStatus(source="10.128.2.149", connected=True, last_connected=when),),
                    watch=WatchStatus(connected=True, last_disconnect_status="503 Service Unavailable"),
                ),
            ),
            inactive=(),
        )
    )
    remote = {"source": "10.128.2.149", "connected": True, "lastConnected": "2021-10-05T13:02:25Z"}
    watch = {"connected": True, "lastDisconnectStatus": "503 Service Unavailable"}
    pod = {"pod": "istiod-red-mesh-b65457658-9wq5j", "remotes": [remote], "watch": watch}
    assert wire(status) == {"discoveryStatus": {"active": [pod], "inactive": []}}


def test_null_lists_are_read() -> None:
    """Lists that Go programs write as null are read."""
    status = msgspec.json.decode(b'{"discoveryStatus":{"active":null,"inactive":null}}', type=PeerStatus)
    assert status.discovery_status == DiscoveryStatus()


def test_kind_and_version_are_always_on_the_wire() -> None:
    """A resource made in Python says what it is."""
    made = wire(ExportedServiceSet(metadata=ObjectMeta(name="green-mesh")))
    assert (made["apiVersion"], made["kind"]) == ("federation.maistra.io/v1", "ExportedServiceSet")


BAD_PEERS = [
    pytest.param("[ingress-red-mesh.green-mesh-system.apps.domain.com]", "[]", r"remote\.addresses", id="no address"),
    pytest.param("[ingress-red", "[https://ingress-red", r"remote\.addresses\[0\]", id="address with a scheme"),
    pytest.param("trustDomain: green-mesh.local", "trustDomain: green mesh", r"security\.trustDomain", id="domain"),
    pytest.param("clientID: green", "clientID: spiffe://green", r"security\.clientID", id="client with a scheme"),
    pytest.param("kind: ConfigMap", "kind: Secret", r"certificateChain\.kind", id="kind of the chain"),
    pytest.param("remote: {", "remote: {discoveryPort: 65536, ", r"remote\.discoveryPort", id="port"),
]


@pytest.mark.parametrize(("good", "bad", "path"), BAD_PEERS)
def test_bad_peer_is_refused_with_the_path(good: str, bad: str, path: str) -> None:
    """A malformed peer is not taken for a peer, and the error names the field."""
    with pytest.raises(msgspec.ValidationError, match=path):
        parse(ServiceMeshPeer, PEER.replace(good, bad, 1))


@given(st.lists(st.sampled_from(["Ready", "Reconciled", "Installed"]), unique=True))
def test_condition_is_found_by_type(types: list[str]) -> None:
    """A condition is found if and only if it is there."""
    conditions = [Condition(type=each, status="True") for each in types]
    found = condition(conditions, "Ready")
    assert (found.type if found else None) == ("Ready" if "Ready" in types else None)
