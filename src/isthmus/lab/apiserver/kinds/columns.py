"""The columns of the built-in kinds' Tables, as ``kubectl get`` shows them. Pure.

Long because it is one table: a tuple of columns for each kind, with the cells that are more than a field beside them.

Source: the columns that kube-apiserver 1.33 sends for these kinds, as clients see them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from isthmus.lab.apiserver.kinds.resource import Cell, Column

View = Mapping[str, Any]
NONE = "<none>"


def at(obj: View, path: str, default: Any = None) -> Any:
    """The value at a dotted path, or the default when absent or null."""
    value: Any = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return default if value is None else value


def parse_time(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except (ValueError, AttributeError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def age(text: Any, now: datetime) -> str:
    """How long ago, as kubectl writes it: ``5s``, ``3m12s``, ``4h``, ``2d5h``."""
    moment = parse_time(text) if isinstance(text, str) else None
    return human_duration(now - moment) if moment else "<unknown>"


def human_duration(elapsed: timedelta) -> str:
    """A duration in at most two units, coarser as it grows."""
    seconds = int(elapsed.total_seconds())
    if seconds < -1:
        return "<invalid>"
    seconds = max(seconds, 0)
    for below, unit, finer in _STEPS:
        if seconds < below:
            return _in_units(seconds, unit, finer)
    return f"{seconds // 31536000}y"


_SIZES = {"s": 1, "m": 60, "h": 3600, "d": 86400, "y": 31536000}
_STEPS = (
    (120, "s", ""),
    (600, "m", "s"),
    (10800, "m", ""),
    (28800, "h", "m"),
    (172800, "h", ""),
    (691200, "d", "h"),
    (63072000, "d", ""),
    (252288000, "y", "d"),
)


def _in_units(seconds: int, unit: str, finer: str) -> str:
    whole, rest = divmod(seconds, _SIZES[unit])
    fraction = rest // _SIZES[finer] if finer else 0
    return f"{whole}{unit}{fraction}{finer}" if fraction else f"{whole}{unit}"


def path(dotted: str, default: Any = NONE) -> Cell:
    return lambda obj, _: at(obj, dotted, default)


def count(dotted: str) -> Cell:
    return lambda obj, _: len(at(obj, dotted, ()))


def since(dotted: str) -> Cell:
    return lambda obj, now: age(at(obj, dotted), now)


def pairs(dotted: str) -> Cell:
    def cell(obj: View, _: datetime) -> str:
        items = at(obj, dotted, {})
        return ",".join(f"{key}={items[key]}" for key in sorted(items)) or NONE

    return cell


def joined(dotted: str, key: str) -> Cell:
    return lambda obj, _: ",".join(str(one.get(key, "")) for one in at(obj, dotted, ())) or NONE


NAME = Column("Name", path("metadata.name", ""), format="name", description="Name of the object")
AGE = Column("Age", since("metadata.creationTimestamp"), description="Time since the object was created")
CREATED = Column("Created At", path("metadata.creationTimestamp", ""), description="When the object was created")


def wide(name: str, cell: Cell) -> Column:
    return Column(name, cell, priority=1)


def integer(name: str, cell: Cell) -> Column:
    return Column(name, cell, type="integer")


# Pods


def _ready(obj: View, _: datetime) -> str:
    """Ready containers of all: sidecars count, other init containers do not."""
    sidecars = _sidecars(obj)
    beside = [one for one in at(obj, "status.initContainerStatuses", ()) if one.get("name") in sidecars]
    statuses = [*beside, *at(obj, "status.containerStatuses", ())]
    return f"{sum(1 for one in statuses if one.get('ready'))}/{len(at(obj, 'spec.containers', ())) + len(sidecars)}"


def _restarts(obj: View, now: datetime) -> str:
    """Those of the init containers while these run, then those of the others and of sidecars."""
    sidecars, init = _sidecars(obj), at(obj, "status.initContainerStatuses", ())
    beside = [one for one in init if one.get("name") in sidecars]
    statuses = init if _init_reason(obj) else [*beside, *at(obj, "status.containerStatuses", ())]
    total = sum(one.get("restartCount", 0) for one in statuses)
    finished = [at(one, "lastState.terminated.finishedAt", "") for one in statuses]
    latest = max((text for text in finished if text), default="")
    return f"{total} ({age(latest, now)} ago)" if total and latest else str(total)


def _sidecars(obj: View) -> set[str]:
    return {one.get("name", "") for one in at(obj, "spec.initContainers", ()) if one.get("restartPolicy") == "Always"}


def _phase(obj: View, _: datetime) -> str:
    """The pod's phase, or the more telling reason of one of its containers."""
    reason = at(obj, "status.reason") or at(obj, "status.phase", "Unknown")
    reason = _init_reason(obj) or _container_reason(obj) or reason
    if at(obj, "metadata.deletionTimestamp"):
        return "Terminating"
    return str(reason)


def _init_reason(obj: View) -> str:
    sidecars = _sidecars(obj)
    for index, one in enumerate(at(obj, "status.initContainerStatuses", ())):
        if at(one, "state.terminated.exitCode") == 0 or (one.get("name") in sidecars and one.get("started")):
            continue
        if one.get("name") in sidecars and _initialized(obj):
            continue
        reason = _state_reason(one)
        if reason and reason != "PodInitializing":
            return f"Init:{reason}"
        return f"Init:{index}/{len(at(obj, 'spec.initContainers', ()))}"
    return ""


def _initialized(obj: View) -> bool:
    conditions = at(obj, "status.conditions", ())
    return any(one.get("type") == "Initialized" and one.get("status") == "True" for one in conditions)


def _container_reason(obj: View) -> str:
    reasons = [_state_reason(one) for one in at(obj, "status.containerStatuses", ())]
    found = next((reason for reason in reasons if reason), "")
    running = any(
        one.get("ready") and at(one, "state.running") is not None for one in at(obj, "status.containerStatuses", ())
    )
    if found == "Completed" and running:
        return "Running"
    return found


def _state_reason(status: View) -> str:
    waiting = at(status, "state.waiting.reason", "")
    if waiting:
        return str(waiting)
    ended = at(status, "state.terminated")
    if ended is None:
        return ""
    if ended.get("reason"):
        return str(ended["reason"])
    return f"Signal:{ended['signal']}" if ended.get("signal") else f"ExitCode:{ended.get('exitCode', 0)}"


def _readiness_gates(obj: View, _: datetime) -> str:
    gates = at(obj, "spec.readinessGates", ())
    conditions = {one.get("type"): one.get("status") for one in at(obj, "status.conditions", ())}
    met = sum(1 for gate in gates if conditions.get(gate.get("conditionType")) == "True")
    return f"{met}/{len(gates)}" if gates else NONE


POD = (
    NAME,
    Column("Ready", _ready),
    Column("Status", _phase),
    Column("Restarts", _restarts),
    AGE,
    wide("IP", path("status.podIP")),
    wide("Node", path("spec.nodeName")),
    wide("Nominated Node", path("status.nominatedNodeName")),
    wide("Readiness Gates", _readiness_gates),
)

# Services and endpoints


def _service_ports(obj: View, _: datetime) -> str:
    return ",".join(_service_port(port) for port in at(obj, "spec.ports", ())) or NONE


def _service_port(port: View) -> str:
    node = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port.get('port')}{node}/{port.get('protocol', 'TCP')}"


def _external_ip(obj: View, _: datetime) -> str:
    declared = list(at(obj, "spec.externalIPs", ()))
    match at(obj, "spec.type", "ClusterIP"):
        case "LoadBalancer":
            ingress = [one.get("ip") or one.get("hostname", "") for one in at(obj, "status.loadBalancer.ingress", ())]
            return ",".join(ingress + declared) or "<pending>"
        case "ExternalName":
            return str(at(obj, "spec.externalName", NONE))
    return ",".join(declared) or NONE


SERVICE = (
    NAME,
    Column("Type", path("spec.type")),
    Column("Cluster-IP", path("spec.clusterIP")),
    Column("External-IP", _external_ip),
    Column("Port(s)", _service_ports),
    AGE,
    wide("Selector", pairs("spec.selector")),
)


def _endpoints(obj: View, _: datetime) -> str:
    pairs_ = [
        f"{address.get('ip')}:{port.get('port')}"
        for subset in at(obj, "subsets", ())
        for port in subset.get("ports", ())
        for address in subset.get("addresses", ())
    ]
    return _shortened(pairs_)


def _shortened(items: Sequence[str], most: int = 3) -> str:
    if not items:
        return NONE
    more = f" + {len(items) - most} more..." if len(items) > most else ""
    return ",".join(items[:most]) + more


def _slice_ports(obj: View, _: datetime) -> str:
    ports = [str(port["port"]) if port.get("port") is not None else "*" for port in at(obj, "ports", ())]
    return _shortened(ports) if ports else "<unset>"


def _slice_endpoints(obj: View, _: datetime) -> str:
    addresses = [address for endpoint in at(obj, "endpoints", ()) for address in endpoint.get("addresses", ())]
    return _shortened(addresses) if addresses else "<unset>"


ENDPOINTS = (NAME, Column("Endpoints", _endpoints), AGE)
ENDPOINT_SLICE = (
    NAME,
    Column("AddressType", path("addressType")),
    Column("Ports", _slice_ports),
    Column("Endpoints", _slice_endpoints),
    AGE,
)

# Workloads


def _selector_text(dotted: str) -> Cell:
    def cell(obj: View, _: datetime) -> str:
        labels = at(obj, f"{dotted}.matchLabels", {})
        terms = [f"{key}={labels[key]}" for key in sorted(labels)]
        for one in at(obj, f"{dotted}.matchExpressions", ()):
            values = ",".join(one.get("values") or ())
            operator = str(one.get("operator", "")).lower()
            bare = {"exists": one.get("key"), "doesnotexist": f"!{one.get('key')}"}
            terms.append(str(bare.get(operator, f"{one.get('key')} {operator} ({values})")))
        return ",".join(terms) or NONE

    return cell


CONTAINERS = wide("Containers", joined("spec.template.spec.containers", "name"))
IMAGES = wide("Images", joined("spec.template.spec.containers", "image"))

DEPLOYMENT = (
    NAME,
    Column("Ready", lambda obj, _: f"{at(obj, 'status.readyReplicas', 0)}/{at(obj, 'spec.replicas', 0)}"),
    integer("Up-to-date", path("status.updatedReplicas", 0)),
    integer("Available", path("status.availableReplicas", 0)),
    AGE,
    CONTAINERS,
    IMAGES,
    wide("Selector", _selector_text("spec.selector")),
)
REPLICA_SET = (
    NAME,
    integer("Desired", path("spec.replicas", 0)),
    integer("Current", path("status.replicas", 0)),
    integer("Ready", path("status.readyReplicas", 0)),
    AGE,
    CONTAINERS,
    IMAGES,
    wide("Selector", _selector_text("spec.selector")),
)

# The rest

NAMESPACE = (NAME, Column("Status", path("status.phase", "Active")), AGE)


def _data_count(obj: View, _: datetime) -> int:
    return len(at(obj, "data", ())) + len(at(obj, "binaryData", ()))


CONFIG_MAP = (NAME, Column("Data", _data_count), AGE)
SECRET = (NAME, Column("Type", path("type")), integer("Data", count("data")), AGE)
SERVICE_ACCOUNT = (NAME, integer("Secrets", count("secrets")), AGE)


def _node_status(obj: View, _: datetime) -> str:
    ready = next((one for one in at(obj, "status.conditions", ()) if one.get("type") == "Ready"), None)
    status = {"True": "Ready", "False": "NotReady"}.get(ready.get("status", ""), "Unknown") if ready else "Unknown"
    return f"{status},SchedulingDisabled" if at(obj, "spec.unschedulable") else status


def _node_roles(obj: View, _: datetime) -> str:
    prefix = "node-role.kubernetes.io/"
    roles = [key.removeprefix(prefix) for key in at(obj, "metadata.labels", {}) if key.startswith(prefix)]
    return ",".join(sorted(roles)) or NONE


def _node_address(kind: str) -> Cell:
    def cell(obj: View, _: datetime) -> str:
        found = [one.get("address", "") for one in at(obj, "status.addresses", ()) if one.get("type") == kind]
        return found[0] if found else NONE

    return cell


NODE = (
    NAME,
    Column("Status", _node_status),
    Column("Roles", _node_roles),
    AGE,
    Column("Version", path("status.nodeInfo.kubeletVersion", "")),
    wide("Internal-IP", _node_address("InternalIP")),
    wide("External-IP", _node_address("ExternalIP")),
    wide("OS-Image", path("status.nodeInfo.osImage", "<unknown>")),
    wide("Kernel-Version", path("status.nodeInfo.kernelVersion", "<unknown>")),
    wide("Container-Runtime", path("status.nodeInfo.containerRuntimeVersion", "<unknown>")),
)


def _event_object(obj: View, _: datetime) -> str:
    about = at(obj, "involvedObject", None) or at(obj, "regarding", {})
    return f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}"


def _first(*dotted: str) -> Callable[[View], Any]:
    return lambda obj: next((value for one in dotted if (value := at(obj, one))), None)


_last_seen = _first(
    "series.lastObservedTime", "lastTimestamp", "deprecatedLastTimestamp", "eventTime", "metadata.creationTimestamp"
)
_first_seen = _first("firstTimestamp", "deprecatedFirstTimestamp", "eventTime", "metadata.creationTimestamp")
_event_count = _first("series.count", "count", "deprecatedCount")
_message = _first("message", "note")

EVENT = (
    Column("Last Seen", lambda obj, now: age(_last_seen(obj), now)),
    Column("Type", path("type", "")),
    Column("Reason", path("reason", "")),
    Column("Object", _event_object),
    wide("Subobject", path("involvedObject.fieldPath", "")),
    wide("Source", path("source.component", "")),
    Column("Message", lambda obj, _: str(_message(obj) or "").strip()),
    wide("First Seen", lambda obj, now: age(_first_seen(obj), now)),
    wide("Count", lambda obj, _: _event_count(obj) or 1),
    Column("Name", path("metadata.name", ""), format="name", priority=1),
)

LEASE = (NAME, Column("Holder", path("spec.holderIdentity", "")), AGE)
ROLE = (NAME, CREATED)


def _role_ref(obj: View, _: datetime) -> str:
    return f"{at(obj, 'roleRef.kind', '')}/{at(obj, 'roleRef.name', '')}"


def _subjects(kind: str) -> Cell:
    def cell(obj: View, _: datetime) -> str:
        return ", ".join(_subject_name(one) for one in at(obj, "subjects", ()) if one.get("kind") == kind)

    return cell


def _subject_name(subject: View) -> str:
    space = f"{subject['namespace']}/" if subject.get("namespace") else ""
    return f"{space}{subject.get('name', '')}"


BINDING = (
    NAME,
    Column("Role", _role_ref),
    AGE,
    wide("Users", _subjects("User")),
    wide("Groups", _subjects("Group")),
    wide("ServiceAccounts", _subjects("ServiceAccount")),
)
NETWORK_POLICY = (NAME, Column("Pod-Selector", _selector_text("spec.podSelector")), AGE)
DISRUPTION_BUDGET = (
    NAME,
    Column("Min Available", path("spec.minAvailable", "N/A")),
    Column("Max Unavailable", path("spec.maxUnavailable", "N/A")),
    integer("Allowed Disruptions", path("status.disruptionsAllowed", 0)),
    AGE,
)
CRD = (NAME, CREATED)
PLAIN = (NAME, AGE)
