"""Services: defaults and rules. Pure. Source: Kubernetes API reference, Service v1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from isthmus.lab.apiserver.errors import FieldError, duplicate, invalid_value, required, unsupported
from isthmus.lab.apiserver.names import dns_label_error
from isthmus.lab.apiserver.objects import Object

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
PROTOCOLS = ("SCTP", "TCP", "UDP")
SESSION_TIMEOUT_S = 10800


def complete_service(new: Object, old: Object | None) -> None:
    """Set the defaults; what was allocated before is kept when an update leaves it out."""
    spec = new.setdefault("spec", {})
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    if spec["sessionAffinity"] == "ClientIP":
        spec.setdefault("sessionAffinityConfig", {"clientIP": {"timeoutSeconds": SESSION_TIMEOUT_S}})
    for port in spec.get("ports") or ():
        port.setdefault("protocol", "TCP")
        if "targetPort" not in port and "port" in port:
            port["targetPort"] = port["port"]
    if spec["type"] == "ExternalName":
        for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            spec.pop(name, None)
        return
    _complete_network(spec, (old or {}).get("spec") or {})
    new.setdefault("status", {"loadBalancer": {}})


def _complete_network(spec: dict[str, Any], before: Mapping[str, Any]) -> None:
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    spec.setdefault("internalTrafficPolicy", "Cluster")
    if spec["type"] in ("NodePort", "LoadBalancer"):
        spec.setdefault("externalTrafficPolicy", "Cluster")
        _keep_node_ports(spec, before)
    else:
        spec.pop("externalTrafficPolicy", None)
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    if not spec.get("clusterIP") and before.get("clusterIP"):
        spec["clusterIP"] = before["clusterIP"]


def _keep_node_ports(spec: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    known = {(port.get("port"), port.get("protocol")): port.get("nodePort") for port in before.get("ports") or ()}
    for port in spec.get("ports") or ():
        kept = known.get((port.get("port"), port.get("protocol")))
        if kept and "nodePort" not in port:
            port["nodePort"] = kept


def service_errors(new: Object, old: Object | None) -> list[FieldError]:
    """Everything wrong with a Service."""
    return [*_spec_errors(new["spec"]), *_address_errors(new["spec"], old)]


def _spec_errors(spec: Mapping[str, Any]) -> Iterator[FieldError]:
    if spec["type"] not in TYPES:
        yield unsupported("spec.type", spec["type"], TYPES)
    if spec["sessionAffinity"] not in ("ClientIP", "None"):
        yield unsupported("spec.sessionAffinity", spec["sessionAffinity"], ("ClientIP", "None"))
    if spec["type"] == "ExternalName" and not spec.get("externalName"):
        yield required("spec.externalName")
    ports = spec.get("ports") or []
    if not ports and spec["type"] != "ExternalName" and spec.get("clusterIP") != "None":
        yield required("spec.ports")
    yield from _ports_errors(ports)


def _ports_errors(ports: list[dict[str, Any]]) -> Iterator[FieldError]:
    names, places = set(), set()
    for index, port in enumerate(ports):
        path = f"spec.ports[{index}]"
        name = port.get("name") or ""
        if not name and len(ports) > 1:
            yield required(f"{path}.name")
        elif name and (problem := dns_label_error(name)):
            yield invalid_value(f"{path}.name", name, problem)
        elif name and name in names:
            yield duplicate(f"{path}.name", name)
        names.add(name)
        yield from _port_errors(port, path)
        place = (port.get("port"), port.get("protocol"))
        if place in places:
            yield duplicate(path, {"port": place[0], "protocol": place[1]})
        places.add(place)


def _port_errors(port: Mapping[str, Any], path: str) -> Iterator[FieldError]:
    for name in ("port", "targetPort"):
        number = port.get(name, 0)
        if isinstance(number, int) and not 1 <= number <= 65535:
            yield invalid_value(f"{path}.{name}", number, "must be between 1 and 65535, inclusive")
    if port.get("protocol") not in PROTOCOLS:
        yield unsupported(f"{path}.protocol", port.get("protocol"), PROTOCOLS)


def _address_errors(spec: Mapping[str, Any], old: Object | None) -> Iterator[FieldError]:
    before = ((old or {}).get("spec") or {}).get("clusterIP")
    if before and spec["type"] != "ExternalName" and spec.get("clusterIP") != before:
        yield invalid_value("spec.clusterIPs[0]", [spec.get("clusterIP")], "may not change once set")
