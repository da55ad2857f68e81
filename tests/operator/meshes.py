"""Control planes to test with."""

from typing import Any

import msgspec
import yaml

from isthmus.api import ServiceMeshControlPlane

DOCUMENTED = """
apiVersion: maistra.io/v2
kind: ServiceMeshControlPlane
metadata: {name: red-mesh, namespace: red-mesh-system, uid: 3f0c9c3e-7b8a-4a44-9a55-0d6e2f1f8a11, generation: 1}
spec:
  version: v2.6
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
        enabled: true
        service:
          type: LoadBalancer
          metadata: {labels: {federation.maistra.io/ingress-for: ingress-green-mesh}}
          ports: [{port: 15443, name: tls}, {port: 8188, name: https-discovery}]
  security: {trust: {domain: red-mesh.local}}
"""


def documented() -> ServiceMeshControlPlane:
    """Return the control plane of the documentation."""
    return msgspec.convert(yaml.safe_load(DOCUMENTED), ServiceMeshControlPlane)


def control_plane(spec: dict[str, Any], *, name: str = "red-mesh") -> ServiceMeshControlPlane:
    """Return a control plane with the spec."""
    metadata = {"name": name, "namespace": "red-mesh-system", "uid": "u", "generation": 1}
    return msgspec.convert({"metadata": metadata, "spec": spec}, ServiceMeshControlPlane)
