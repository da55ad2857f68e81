"""Bodies in Kubernetes' protobuf encoding, for the kinds that kubectl and oc send so. Pure.

Each message is a table of field numbers; the wire format is read by hand because the messages are few and small.
Source: Protocol Buffers encoding; field numbers of k8s.io/api and k8s.io/apimachinery ``generated.proto``; the envelope
``k8s\\0`` + runtime.Unknown.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from isthmus.lab.apiserver.errors import bad_request, unsupported_media_type

MAGIC = b"k8s\0"


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("a number is cut off")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message in order: number and value (varint or bytes). Raises ValueError when malformed."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        size = {1: 8, 5: 4}.get(wire)
        if wire == 2:
            size, at = _varint(data, at)
        if size is None or at + size > len(data):
            raise ValueError("a field is cut off or of an unknown wire type")
        yield number, data[at : at + size]
        at += size


class UnreadFieldError(Exception):
    """A field is set that this server doesn't read: dropping it would store another object than was sent."""


Reader = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its JSON name, how to read one value, and whether it repeats or is a map's entry.

    ``kept``: it is a pointer in Go, which is written only when it is set: what is empty then is meant so. Of the others
    Go writes those that are unset too, as empty texts, numbers, flags and messages.
    """

    name: str
    read: Reader
    repeated: bool = False
    mapping: bool = False
    kept: bool = False


Message = Mapping[int, Field]


def read_message(message: Message) -> Reader:
    """A reader of one message as a JSON object, without what is not set.

    Raises UnreadFieldError for a field that the table doesn't know.
    """

    def read(data: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for number, value in fields(_bytes(data)):
            if (known := message.get(number)) is not None:
                _put(found, known, value)
            elif not _is_blank(value):
                raise UnreadFieldError(f"field {number} is not read in protobuf")
        return found

    return read


def _is_blank(value: int | bytes) -> bool:
    """Whether a field is only there because Go writes unset ones too: zero, empty, or a message of such."""
    if isinstance(value, int) or not value:
        return not value
    try:
        return all(_is_blank(below) for _, below in fields(value))
    except ValueError:
        return False


def _put(found: dict[str, Any], known: Field, value: int | bytes) -> None:
    if known.mapping:
        entry = read_message({1: Field("key", _text), 2: Field("value", known.read)})(value)
        found.setdefault(known.name, {})[entry.get("key", "")] = entry.get("value", "")
    elif known.repeated:
        found.setdefault(known.name, []).append(known.read(value))
    elif _is_set(one := known.read(value), known):
        found[known.name] = one
    else:
        found.pop(known.name, None)  # the last one counts


def _is_set(value: Any, known: Field) -> bool:
    return value is not None and (known.kept or value not in ("", 0, {}))


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("expected a message, found a number")  # bad input, not a bug
    return value


def _text(value: Any) -> str:
    return _bytes(value).decode()


def _base64(value: Any) -> str:
    return base64.b64encode(_bytes(value)).decode()


def _number(value: Any) -> int:
    if isinstance(value, bytes):
        raise ValueError("expected a number, found a message")  # bad input, not a bug
    return int(value) - (1 << 64) if value >= 1 << 63 else int(value)


def _flag(value: Any) -> bool:
    return bool(_number(value))


# Of a time that is not set Go writes an empty message; the parts of one that is are there also when they are 0.
_read_moment = read_message({1: Field("seconds", _number, kept=True), 2: Field("nanos", _number, kept=True)})


def _time(value: Any) -> str | None:
    parts = _read_moment(value)
    if not parts:
        return None
    return datetime.fromtimestamp(parts.get("seconds", 0), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _micro_time(value: Any) -> str | None:
    parts = _read_moment(value)
    if not parts:
        return None
    fraction = timedelta(microseconds=parts.get("nanos", 0) // 1000)
    moment = datetime.fromtimestamp(parts.get("seconds", 0), UTC) + fraction
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _pointer(name: str, read: Reader) -> Field:
    return Field(name, read, kept=True)


def _texts(name: str) -> Field:
    return Field(name, _text, repeated=True)


def _map(name: str) -> Field:
    return Field(name, _text, mapping=True)


_OWNER = {
    5: Field("apiVersion", _text),
    1: Field("kind", _text),
    3: Field("name", _text),
    4: Field("uid", _text),
    6: _pointer("controller", _flag),
    7: _pointer("blockOwnerDeletion", _flag),
}
_META = {
    1: Field("name", _text),
    2: Field("generateName", _text),
    3: Field("namespace", _text),
    5: Field("uid", _text),
    6: Field("resourceVersion", _text),
    7: Field("generation", _number),
    8: Field("creationTimestamp", _time),
    11: _map("labels"),
    12: _map("annotations"),
    13: Field("ownerReferences", read_message(_OWNER), repeated=True),
    14: _texts("finalizers"),
}
_METADATA = Field("metadata", read_message(_META))
_REFERENCE = {
    1: Field("kind", _text),
    2: Field("namespace", _text),
    3: Field("name", _text),
    4: Field("uid", _text),
    5: Field("apiVersion", _text),
}
_LOCAL_REFERENCE = {1: Field("name", _text)}
_RESOURCE_ATTRIBUTES = {
    number: Field(name, _text)
    for number, name in enumerate(("namespace", "verb", "group", "version", "resource", "subresource", "name"), start=1)
}
_NON_RESOURCE_ATTRIBUTES = {1: Field("path", _text), 2: Field("verb", _text)}
_ACCESS = {
    1: _pointer("resourceAttributes", read_message(_RESOURCE_ATTRIBUTES)),
    2: _pointer("nonResourceAttributes", read_message(_NON_RESOURCE_ATTRIBUTES)),
}
_RULE = {
    1: _texts("verbs"),
    2: _texts("apiGroups"),
    3: _texts("resources"),
    4: _texts("resourceNames"),
    5: _texts("nonResourceURLs"),
}
_SUBJECT = {
    1: Field("kind", _text),
    2: Field("apiGroup", _text),
    3: Field("name", _text),
    4: Field("namespace", _text),
}
_ROLE_REF = {1: Field("apiGroup", _text), 2: Field("kind", _text), 3: Field("name", _text)}
_BOUND = {
    1: Field("kind", _text),
    2: Field("apiVersion", _text),
    3: Field("name", _text),
    4: Field("uid", _text),
}
_BINDING = {
    1: _METADATA,
    2: Field("subjects", read_message(_SUBJECT), repeated=True),
    3: Field("roleRef", read_message(_ROLE_REF)),
}
_ROLE = {1: _METADATA, 2: Field("rules", read_message(_RULE), repeated=True)}


_EXPRESSION = {1: Field("key", _text), 2: Field("operator", _text), 3: _texts("values")}
_SELECTOR = {1: _map("matchLabels"), 2: Field("matchExpressions", read_message(_EXPRESSION), repeated=True)}


def _int_or_string(value: Any) -> int | str:
    parts = read_message({1: Field("type", _number), 2: Field("number", _number), 3: Field("text", _text)})(value)
    return str(parts.get("text", "")) if parts.get("type") else int(parts.get("number", 0))


_SERVICE_PORT = {
    1: Field("name", _text),
    2: Field("protocol", _text),
    3: Field("port", _number),
    4: Field("targetPort", _int_or_string),
    5: Field("nodePort", _number),
    6: _pointer("appProtocol", _text),
}
_SERVICE_SPEC = {
    1: Field("ports", read_message(_SERVICE_PORT), repeated=True),
    2: _map("selector"),
    3: Field("clusterIP", _text),
    4: Field("type", _text),
    5: _texts("externalIPs"),
    7: Field("sessionAffinity", _text),
    8: Field("loadBalancerIP", _text),
    10: Field("externalName", _text),
    18: _texts("clusterIPs"),
    20: _pointer("allocateLoadBalancerNodePorts", _flag),
}
_CONTAINER_PORT = {
    1: Field("name", _text),
    2: Field("hostPort", _number),
    3: Field("containerPort", _number),
    4: Field("protocol", _text),
    5: Field("hostIP", _text),
}
_CONTAINER = {
    1: Field("name", _text),
    2: Field("image", _text),
    3: _texts("command"),
    4: _texts("args"),
    5: Field("workingDir", _text),
    6: Field("ports", read_message(_CONTAINER_PORT), repeated=True),
    7: Field("env", read_message({1: Field("name", _text), 2: Field("value", _text)}), repeated=True),
    13: Field("terminationMessagePath", _text),
    14: Field("imagePullPolicy", _text),
}
_POD_SPEC = {
    2: Field("containers", read_message(_CONTAINER), repeated=True),
    3: Field("restartPolicy", _text),
    4: _pointer("terminationGracePeriodSeconds", _number),
    6: Field("dnsPolicy", _text),
    7: _map("nodeSelector"),
    8: Field("serviceAccountName", _text),
    9: Field("serviceAccount", _text),
    10: Field("nodeName", _text),
    21: _pointer("automountServiceAccountToken", _flag),
    30: _pointer("enableServiceLinks", _flag),
}
_TEMPLATE = {1: _METADATA, 2: Field("spec", read_message(_POD_SPEC))}
_DEPLOYMENT_SPEC = {
    1: _pointer("replicas", _number),
    2: _pointer("selector", read_message(_SELECTOR)),
    3: Field("template", read_message(_TEMPLATE)),
    4: Field("strategy", read_message({1: Field("type", _text)})),
    5: Field("minReadySeconds", _number),
    6: _pointer("revisionHistoryLimit", _number),
    7: Field("paused", _flag),
    9: _pointer("progressDeadlineSeconds", _number),
}


def _with_spec(spec: Message) -> Message:
    return {1: _METADATA, 2: Field("spec", read_message(spec))}


MESSAGES: dict[tuple[str, str], Message] = {
    ("v1", "Namespace"): _with_spec({1: _texts("finalizers")}),
    ("v1", "ConfigMap"): {
        1: _METADATA,
        2: _map("data"),
        3: Field("binaryData", _base64, mapping=True),
        4: _pointer("immutable", _flag),
    },
    ("v1", "Secret"): {
        1: _METADATA,
        2: Field("data", _base64, mapping=True),
        3: Field("type", _text),
        4: _map("stringData"),
        5: _pointer("immutable", _flag),
    },
    ("v1", "ServiceAccount"): {
        1: _METADATA,
        2: Field("secrets", read_message(_REFERENCE), repeated=True),
        3: Field("imagePullSecrets", read_message(_LOCAL_REFERENCE), repeated=True),
        4: _pointer("automountServiceAccountToken", _flag),
    },
    ("authentication.k8s.io/v1", "TokenRequest"): _with_spec(
        {
            1: _texts("audiences"),
            4: _pointer("expirationSeconds", _number),
            3: _pointer("boundObjectRef", read_message(_BOUND)),
        }
    ),
    ("authentication.k8s.io/v1", "TokenReview"): _with_spec({1: Field("token", _text), 2: _texts("audiences")}),
    ("authentication.k8s.io/v1", "SelfSubjectReview"): {1: _METADATA},
    ("authorization.k8s.io/v1", "SelfSubjectAccessReview"): _with_spec(_ACCESS),
    ("authorization.k8s.io/v1", "SelfSubjectRulesReview"): _with_spec({1: Field("namespace", _text)}),
    ("authorization.k8s.io/v1", "SubjectAccessReview"): _with_spec(
        {**_ACCESS, 3: Field("user", _text), 4: _texts("groups"), 6: Field("uid", _text)}
    ),
    ("authorization.k8s.io/v1", "LocalSubjectAccessReview"): _with_spec(
        {**_ACCESS, 3: Field("user", _text), 4: _texts("groups"), 6: Field("uid", _text)}
    ),
    ("rbac.authorization.k8s.io/v1", "Role"): _ROLE,
    ("rbac.authorization.k8s.io/v1", "ClusterRole"): _ROLE,
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): _BINDING,
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"): _BINDING,
    ("v1", "Service"): _with_spec(_SERVICE_SPEC),
    ("v1", "Pod"): _with_spec(_POD_SPEC),
    ("apps/v1", "Deployment"): _with_spec(_DEPLOYMENT_SPEC),
    ("policy/v1", "PodDisruptionBudget"): _with_spec(
        {
            1: _pointer("minAvailable", _int_or_string),
            2: _pointer("selector", read_message(_SELECTOR)),
            3: _pointer("maxUnavailable", _int_or_string),
            4: _pointer("unhealthyPodEvictionPolicy", _text),
        }
    ),
    ("coordination.k8s.io/v1", "Lease"): _with_spec(
        {
            1: _pointer("holderIdentity", _text),
            2: _pointer("leaseDurationSeconds", _number),
            3: _pointer("acquireTime", _micro_time),
            4: _pointer("renewTime", _micro_time),
            5: _pointer("leaseTransitions", _number),
            6: _pointer("strategy", _text),
            7: _pointer("preferredHolder", _text),
        }
    ),
    ("v1", "Event"): {
        1: _METADATA,
        2: Field("involvedObject", read_message(_REFERENCE)),
        3: Field("reason", _text),
        4: Field("message", _text),
        5: Field("source", read_message({1: Field("component", _text), 2: Field("host", _text)})),
        6: Field("firstTimestamp", _time),
        7: Field("lastTimestamp", _time),
        8: Field("count", _number),
        9: Field("type", _text),
        10: Field("eventTime", _micro_time),
        11: _pointer("series", read_message({1: Field("count", _number), 2: Field("lastObservedTime", _micro_time)})),
        12: Field("action", _text),
        13: _pointer("related", read_message(_REFERENCE)),
        14: Field("reportingComponent", _text),
        15: Field("reportingInstance", _text),
    },
    ("v1", "DeleteOptions"): {
        1: _pointer("gracePeriodSeconds", _number),
        2: _pointer("preconditions", read_message({1: _pointer("uid", _text), 2: _pointer("resourceVersion", _text)})),
        4: _pointer("propagationPolicy", _text),
        5: _texts("dryRun"),
    },
}
"""The kinds whose protobuf is read, by (apiVersion, kind)."""

JSON_TYPES = ("application/json", "application/yaml")
_TYPE_META = {1: Field("apiVersion", _text), 2: Field("kind", _text)}
_UNKNOWN = {
    1: Field("typeMeta", read_message(_TYPE_META)),
    2: Field("raw", _bytes),
}


def decode_envelope(body: bytes) -> dict[str, Any]:
    """An object out of its envelope. Raises StatusError: 400 when malformed, 415 for a kind that is not read."""
    if not body.startswith(MAGIC):
        raise bad_request("couldn't read the body as protobuf: it doesn't begin with k8s\\0")
    try:
        envelope = read_message(_UNKNOWN)(body[len(MAGIC) :])
        type_meta = {"apiVersion": "", "kind": "", **envelope.get("typeMeta", {})}
        message = MESSAGES.get((type_meta["apiVersion"], type_meta["kind"]))
        if message is None:
            raise unsupported_media_type(JSON_TYPES)
        obj = read_message(message)(envelope.get("raw", b""))
    except UnreadFieldError as error:
        raise unsupported_media_type(JSON_TYPES) from error
    except (ValueError, OverflowError, OSError) as error:
        raise bad_request(f"couldn't read the body as protobuf: {error}") from error
    return {**type_meta, **obj}
