"""Pods: defaults, the service account's token, rules. Pure. Source: Kubernetes API reference, Pod v1.

The ServiceAccount admission mounts a projected volume with the account's token, the cluster's CA and the namespace at
the place where in-cluster clients look for them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from isthmus.lab.apiserver.errors import FieldError, duplicate, forbidden_field, invalid_value, required, unsupported
from isthmus.lab.apiserver.names import dns_label_error
from isthmus.lab.apiserver.objects import Object, metadata

TOKEN_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105  # a path, not a secret
TOKEN_LIFETIME_S = 3607
CA_CONFIG_MAP = "kube-root-ca.crt"

_POD_DEFAULTS: Mapping[str, Any] = {
    "restartPolicy": "Always",
    "dnsPolicy": "ClusterFirst",
    "schedulerName": "default-scheduler",
    "terminationGracePeriodSeconds": 30,
}
_CONTAINER_DEFAULTS: Mapping[str, Any] = {
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
}
_PROBE_DEFAULTS: Mapping[str, Any] = {
    "timeoutSeconds": 1,
    "periodSeconds": 10,
    "successThreshold": 1,
    "failureThreshold": 3,
}
_FILE_MODE = 0o644
_MODED_VOLUMES = ("configMap", "secret", "downwardAPI", "projected")
_MUTABLE = frozenset(("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "schedulingGates"))


def complete_pod(new: Object, old: Object | None) -> None:
    """Set the defaults; a new pod also gets its account's token and is Pending."""
    spec = new.setdefault("spec", {})
    complete_pod_spec(spec)
    spec.setdefault("enableServiceLinks", True)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    spec.setdefault("priority", 0)
    if old is not None:
        return
    account = spec.setdefault("serviceAccountName", spec.get("serviceAccount") or "default")
    spec["serviceAccount"] = account
    _mount_token(spec, str(metadata(new).get("uid", "")))
    new["status"] = {"phase": "Pending", "qosClass": "BestEffort"}


def complete_pod_spec(spec: dict[str, Any]) -> None:
    """The defaults that pods and pod templates share."""
    for name, value in _POD_DEFAULTS.items():
        spec.setdefault(name, value)
    spec.setdefault("securityContext", {})
    for kind in ("containers", "initContainers"):
        for container in spec.get(kind) or ():
            _complete_container(container)
    for volume in spec.get("volumes") or ():
        _complete_volume(volume)


def _complete_container(container: dict[str, Any]) -> None:
    for name, value in _CONTAINER_DEFAULTS.items():
        container.setdefault(name, value)
    container.setdefault("resources", {})
    image = str(container.get("image", ""))
    latest = "@" not in image and (":" not in image.rpartition("/")[2] or image.endswith(":latest"))
    container.setdefault("imagePullPolicy", "Always" if latest else "IfNotPresent")
    for port in container.get("ports") or ():
        port.setdefault("protocol", "TCP")
    for entry in container.get("env") or ():
        reference = (entry.get("valueFrom") or {}).get("fieldRef")
        if reference is not None:
            reference.setdefault("apiVersion", "v1")
    for kind in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(kind):
            _complete_probe(container[kind])


def _complete_probe(probe: dict[str, Any]) -> None:
    for name, value in _PROBE_DEFAULTS.items():
        probe.setdefault(name, value)
    if probe.get("httpGet"):
        probe["httpGet"].setdefault("scheme", "HTTP")
        probe["httpGet"].setdefault("path", "/")


def _complete_volume(volume: dict[str, Any]) -> None:
    if set(volume) <= {"name"}:
        volume["emptyDir"] = {}
    for kind in _MODED_VOLUMES:
        if isinstance(volume.get(kind), dict):
            volume[kind].setdefault("defaultMode", _FILE_MODE)
    for source in (volume.get("projected") or {}).get("sources") or ():
        if isinstance(source.get("serviceAccountToken"), dict):
            source["serviceAccountToken"].setdefault("expirationSeconds", 3600)


def _mount_token(spec: dict[str, Any], uid: str) -> None:
    if spec.get("automountServiceAccountToken") is False:
        return
    containers = [one for kind in ("initContainers", "containers") for one in spec.get(kind) or ()]
    unmounted = [one for one in containers if not _has_mount(one)]
    if not unmounted:
        return
    name = f"kube-api-access-{hashlib.sha256(uid.encode()).hexdigest()[:5]}"
    spec.setdefault("volumes", []).append(_token_volume(name))
    for container in unmounted:
        container.setdefault("volumeMounts", []).append({"name": name, "readOnly": True, "mountPath": TOKEN_MOUNT})


def _has_mount(container: Mapping[str, Any]) -> bool:
    return any(one.get("mountPath") == TOKEN_MOUNT for one in container.get("volumeMounts") or ())


def _token_volume(name: str) -> dict[str, Any]:
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    sources = [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_LIFETIME_S, "path": "token"}},
        {"configMap": {"name": CA_CONFIG_MAP, "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [namespace]}},
    ]
    return {"name": name, "projected": {"sources": sources, "defaultMode": _FILE_MODE}}


def pod_errors(new: Object, old: Object | None) -> list[FieldError]:
    """Everything wrong with a pod."""
    errors = [*pod_spec_errors(new["spec"], "spec")]
    if old is not None and not errors:
        errors += _frozen_errors(new["spec"], old["spec"])
    return errors


def pod_spec_errors(spec: Mapping[str, Any], path: str) -> Iterator[FieldError]:
    if not spec.get("containers"):
        yield required(f"{path}.containers")
    if spec["restartPolicy"] not in ("Always", "Never", "OnFailure"):
        yield unsupported(f"{path}.restartPolicy", spec["restartPolicy"], ("Always", "OnFailure", "Never"))
    volumes = {volume.get("name") for volume in spec.get("volumes") or ()}
    seen: set[str] = set()
    for kind in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(kind) or ()):
            where = f"{path}.{kind}[{index}]"
            yield from _container_errors(container, where, volumes)
            if container.get("name") in seen:
                yield duplicate(f"{where}.name", container["name"])
            seen.add(str(container.get("name", "")))


def _container_errors(container: Mapping[str, Any], path: str, volumes: set[Any]) -> Iterator[FieldError]:
    name = container.get("name") or ""
    if not name:
        yield required(f"{path}.name")
    elif problem := dns_label_error(name):
        yield invalid_value(f"{path}.name", name, problem)
    if not container.get("image"):
        yield required(f"{path}.image")
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        if mount.get("name") not in volumes:
            yield FieldError(
                f"{path}.volumeMounts[{index}].name", "FieldValueNotFound", f'Not found: "{mount.get("name")}"'
            )
        if not mount.get("mountPath"):
            yield required(f"{path}.volumeMounts[{index}].mountPath")
    for index, port in enumerate(container.get("ports") or ()):
        number = port.get("containerPort", 0)
        if not 1 <= number <= 65535:
            why = "must be between 1 and 65535, inclusive"
            yield invalid_value(f"{path}.ports[{index}].containerPort", number, why)


def _frozen_errors(new: Mapping[str, Any], old: Mapping[str, Any]) -> Iterator[FieldError]:
    """Of a pod's spec only little may change; being bound to a node once is one of them."""
    if _frozen_part(new, bound=bool(old.get("nodeName"))) != _frozen_part(old, bound=bool(old.get("nodeName"))):
        yield forbidden_field(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
            "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
            "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
        )


def _frozen_part(spec: Mapping[str, Any], *, bound: bool) -> dict[str, Any]:
    mutable = _MUTABLE if bound else _MUTABLE | {"nodeName"}
    part = {name: value for name, value in spec.items() if name not in mutable}
    for kind in ("containers", "initContainers"):
        if kind in part:
            part[kind] = [{name: value for name, value in one.items() if name != "image"} for one in part[kind]]
    return part
