"""Resources of a container as the downward API tells them (core/v1 ResourceFieldSelector)."""

import os
from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal

from lightkube.models.core_v1 import Container, PodSpec, ResourceFieldSelector, ResourceRequirements
from lightkube.utils.quantity import parse_quantity

PODS = "250"


def capacity() -> dict[str, str]:
    """What this machine has, as a node's status says it."""
    pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {"cpu": str(os.cpu_count() or 1), "memory": f"{pages * page_bytes // 1024}Ki", "pods": PODS}


def resource(spec: PodSpec, selector: ResourceFieldSelector, *, container: str, node: Mapping[str, str]) -> str:
    """The value of a ``resourceFieldRef``, in units of its divisor, rounded up.

    ``container`` is who asks, if the selector names nobody; ``node`` is what the node has. A limit that is not set is
    all that the node has, a request that is not set is the limit, or nothing.

    Raises LookupError for a container or a resource that there is not, ValueError for a quantity that is none.
    """
    name = selector.containerName or container
    found = next((one for one in [*spec.containers, *(spec.initContainers or [])] if one.name == name), None)
    if found is None:
        raise LookupError(f"Reading {selector.resource} of container {name!r}: the pod has no container of that name")
    amount = _amount(found, selector.resource, node)
    divisor = parse_quantity(selector.divisor) or Decimal(1)  # unset and 0 both mean 1
    return str((amount / divisor).to_integral_value(ROUND_CEILING))


def _amount(container: Container, path: str, node: Mapping[str, str]) -> Decimal:
    kind, _, name = path.partition(".")
    resources = container.resources or ResourceRequirements()
    limit = (resources.limits or {}).get(name)
    values = {"limits": limit or node.get(name), "requests": (resources.requests or {}).get(name) or limit or "0"}
    if kind not in values or not name:
        raise LookupError(f"Reading {path!r}: expected a resource such as limits.cpu or requests.memory")
    return parse_quantity(values[kind]) or Decimal(0)
