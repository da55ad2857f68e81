"""Fields of a pod that it may be told about itself (Kubernetes documentation, "Downward API")."""

import re
from collections.abc import Mapping

from lightkube.resources.core_v1 import Pod

from isthmus.lab.client import metadata_of

SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


def field(pod: Pod, path: str, *, pod_ip: str, host_ip: str) -> str:
    """The value of a ``fieldRef``'s fieldPath.

    Raises LookupError for a path that the downward API does not have.
    """
    metadata, spec = metadata_of(pod), pod.spec
    plain: dict[str, str | None] = {
        "metadata.name": metadata.name,
        "metadata.namespace": metadata.namespace,
        "metadata.uid": metadata.uid,
        "metadata.labels": _lines(metadata.labels),
        "metadata.annotations": _lines(metadata.annotations),
        "spec.nodeName": spec.nodeName if spec else None,
        "spec.serviceAccountName": spec.serviceAccountName if spec else None,
        "status.podIP": pod_ip,
        "status.podIPs": pod_ip,
        "status.hostIP": host_ip,
        "status.hostIPs": host_ip,
    }
    if path in plain:
        return plain[path] or ""
    if found := SUBSCRIPT.fullmatch(path):
        values: Mapping[str, str] = (metadata.labels if found.group(1) == "labels" else metadata.annotations) or {}
        return values.get(found.group(2), "")
    raise LookupError(f"Reading field {path!r} of a pod: the downward API has {', '.join(sorted(plain))}")


def _lines(values: Mapping[str, str] | None) -> str:
    escaped = (
        (key, value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n"))
        for key, value in sorted((values or {}).items())
    )
    return "\n".join(f'{key}="{value}"' for key, value in escaped)
