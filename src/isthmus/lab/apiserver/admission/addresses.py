"""The addresses and node ports of Services, given out of what is stored, so that a restart agrees.

Source: Kubernetes documentation, "Service ClusterIP allocation", "Service: type NodePort".
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager

from isthmus.lab.apiserver.errors import FieldError, StatusError, invalid
from isthmus.lab.apiserver.objects import Object, metadata

NODE_PORTS = range(30000, 32768)
_PORTS_TEXT = f"{NODE_PORTS.start}-{NODE_PORTS.stop - 1}"
NONE = "None"


class ServiceAddresses:
    """What is taken of a range of addresses and of the node ports."""

    def __init__(self, cidr: str) -> None:
        self._network = ipaddress.ip_network(cidr)
        self._addresses: set[str] = set()
        self._ports: set[int] = set()
        self._next = 1

    def take(self, service: Object) -> None:
        self._addresses.update(_addresses(service))
        self._ports.update(_node_ports(service))

    def release(self, service: Object) -> None:
        self._addresses.difference_update(_addresses(service))
        self._ports.difference_update(_node_ports(service))

    @contextmanager
    def allocated(self, new: Object, old: Object | None) -> Iterator[None]:
        """Give a Service what it needs; it is taken back when the block fails.

        Raises StatusError (422) for an address or port that can't be had.
        """
        before = (set(_addresses(old or {})), set(_node_ports(old or {})))
        self._give_address(new, before[0])
        self._give_ports(new, before[1])
        mine = (set(_addresses(new)) - before[0], set(_node_ports(new)) - before[1])
        self._addresses |= mine[0]
        self._ports |= mine[1]
        stored = False
        try:
            yield
            stored = True
        finally:
            if not stored:
                self._addresses -= mine[0]
                self._ports -= mine[1]

    def _give_address(self, new: Object, own: set[str]) -> None:
        spec = new["spec"]
        if spec.get("type") == "ExternalName":
            return
        wanted = spec.get("clusterIP") or ""
        if not wanted:
            wanted = self._free_address()
        elif wanted != NONE and wanted not in own:
            self._check_address(new, wanted)
        spec["clusterIP"] = wanted
        spec["clusterIPs"] = [wanted]

    def _check_address(self, new: Object, wanted: str) -> None:
        try:
            inside = ipaddress.ip_address(wanted) in self._network
        except ValueError:
            raise _refused(new, "spec.clusterIPs[0]", wanted, "must be a valid IP address") from None
        if not inside:
            why = f"failed to allocate IP {wanted}: the provided network does not match the current range"
            raise _refused(new, "spec.clusterIPs", [wanted], why)
        if wanted in self._addresses:
            why = f"failed to allocate IP {wanted}: provided IP is already allocated"
            raise _refused(new, "spec.clusterIPs", [wanted], why)

    def _free_address(self) -> str:
        usable = self._network.num_addresses - 2
        for offset in range(usable):
            place = 1 + (self._next - 1 + offset) % usable
            address = str(self._network[place])
            if address not in self._addresses:
                self._next = place + 1
                return address
        raise StatusError(500, "InternalError", f"failed to allocate a serviceIP: range {self._network} is full")

    def _give_ports(self, new: Object, own: set[int]) -> None:
        spec = new["spec"]
        if spec.get("type") not in ("NodePort", "LoadBalancer") or spec.get("allocateLoadBalancerNodePorts") is False:
            return
        given: set[int] = set()
        for index, port in enumerate(spec.get("ports") or ()):
            wanted = port.get("nodePort")
            if not wanted:
                port["nodePort"] = wanted = self._free_port(given)
            elif wanted not in own and wanted in self._ports:
                raise _refused(new, f"spec.ports[{index}].nodePort", wanted, "provided port is already allocated")
            elif wanted not in NODE_PORTS:
                why = f"provided port is not in the valid range. The range of valid ports is {_PORTS_TEXT}"
                raise _refused(new, f"spec.ports[{index}].nodePort", wanted, why)
            given.add(wanted)

    def _free_port(self, given: set[int]) -> int:
        for port in NODE_PORTS:
            if port not in self._ports and port not in given:
                return port
        raise StatusError(500, "InternalError", "failed to allocate a nodePort: range is full")


def _refused(service: Object, field: str, value: object, why: str) -> StatusError:
    from isthmus.lab.apiserver.errors import shown

    error = FieldError(field, "FieldValueInvalid", f"Invalid value: {shown(value)}: {why}")
    return invalid("Service", str(metadata(service).get("name", "")), [error])


def _addresses(service: Object) -> list[str]:
    address = (service.get("spec") or {}).get("clusterIP") or ""
    return [address] if address and address != NONE else []


def _node_ports(service: Object) -> list[int]:
    return [port["nodePort"] for port in (service.get("spec") or {}).get("ports") or () if port.get("nodePort")]
