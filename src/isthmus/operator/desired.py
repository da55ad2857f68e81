"""From a ServiceMeshControlPlane to the objects it calls for. Pure: the same resource, the same objects."""

import re
from collections import Counter

from isthmus.api import ServiceMeshControlPlane
from isthmus.api.controlplane import GATEWAY_NAME
from isthmus.api.logs import AccessLogFile
from isthmus.envoy.access_format import AccessFormat, AccessFormatError
from isthmus.kube import KubeObject
from isthmus.operator import gateways, pilot
from isthmus.operator.mesh import Mesh

LONGEST_MESH_NAME = 63 - len("istiod-")
"""The name of the mesh's Service is a DNS label."""


def desired(control_plane: ServiceMeshControlPlane, *, image: str) -> list[KubeObject]:
    """Return the objects of the mesh, in the order in which they are to be made.

    image: what its processes run from. A resource with :func:`problems` must not be given.
    """
    mesh = Mesh(control_plane=control_plane, image=image)
    of_gateways = [obj for gateway in mesh.gateways for obj in gateways.objects(mesh, gateway)]
    return [*pilot.objects(mesh), *of_gateways]


def problems(control_plane: ServiceMeshControlPlane) -> list[str]:
    """Say what is wrong with the resource that its schema cannot refuse; nothing, if the list is empty."""
    mesh = Mesh(control_plane=control_plane, image="")
    names = Counter((gateway.namespace, gateway.name) for gateway in mesh.gateways)
    return [
        *_bad_mesh_name(mesh.name),
        *_bad_format(control_plane.spec.proxy.access_logging.file),
        *(f"gateway {name!r}: expected a DNS label" for _, name in names if not re.fullmatch(GATEWAY_NAME, name)),
        *(f"gateway {name!r} is both an ingress and an egress" for (_, name), count in names.items() if count > 1),
        *(
            f"gateway {name!r} has the name of the control plane"
            for namespace, name in names
            if (namespace, name) == (mesh.namespace, mesh.pilot)
        ),
    ]


def _bad_format(file: AccessLogFile) -> list[str]:
    try:
        AccessFormat.parse(file.format)
    except AccessFormatError as error:
        return [f"spec.proxy.accessLogging.file.format: {error}"]
    if file.format and not file.is_text:
        return ["spec.proxy.accessLogging.file.format: with encoding JSON no format is used; leave one of the two out"]
    return []


def _bad_mesh_name(name: str) -> list[str]:
    if len(name) <= LONGEST_MESH_NAME and re.fullmatch(GATEWAY_NAME, name):
        return []
    return [f"name {name!r}: expected a DNS label of at most {LONGEST_MESH_NAME} characters"]
