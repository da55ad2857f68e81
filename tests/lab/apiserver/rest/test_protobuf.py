"""Protobuf bodies."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.lab.apiserver.errors import StatusError
from isthmus.lab.apiserver.rest.protobuf import MAGIC, decode_envelope


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def part(number: int, value: bytes | str | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    raw = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def envelope(api_version: str, kind: str, raw: bytes) -> bytes:
    return MAGIC + part(1, part(1, api_version) + part(2, kind)) + part(2, raw) + part(3, "") + part(4, "")


METADATA = part(1, "a") + part(3, "") + part(8, b"") + part(11, part(1, "k") + part(2, "v"))


@pytest.mark.parametrize(
    ("api_version", "kind", "raw", "expected"),
    [
        ("v1", "ConfigMap", part(1, METADATA) + part(2, part(1, "x") + part(2, "")), {"data": {"x": ""}}),
        (
            "v1",
            "Secret",
            part(1, METADATA) + part(2, part(1, "x") + part(2, b"\xff")) + part(3, "Opaque"),
            {"data": {"x": "/w=="}, "type": "Opaque"},
        ),
        ("v1", "Namespace", part(1, METADATA) + part(2, b"") + part(3, part(1, "")), {}),
        (
            "rbac.authorization.k8s.io/v1",
            "RoleBinding",
            part(1, METADATA)
            + part(2, part(1, "User") + part(3, "ann"))
            + part(3, part(1, "rbac.authorization.k8s.io") + part(2, "Role") + part(3, "r")),
            {
                "subjects": [{"kind": "User", "name": "ann"}],
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
            },
        ),
        (
            "authentication.k8s.io/v1",
            "TokenRequest",
            part(1, METADATA) + part(2, part(1, "istio-ca") + part(4, 3600)),
            {"spec": {"audiences": ["istio-ca"], "expirationSeconds": 3600}},
        ),
        (
            "coordination.k8s.io/v1",
            "Lease",
            part(1, METADATA) + part(2, part(1, "me") + part(2, 15) + part(4, part(1, 1) + part(2, 5000)) + part(5, 0)),
            {
                "spec": {
                    "holderIdentity": "me",
                    "leaseDurationSeconds": 15,
                    "renewTime": "1970-01-01T00:00:01.000005Z",
                    "leaseTransitions": 0,
                }
            },
        ),
        (
            "v1",
            "Event",
            part(1, METADATA)
            + part(2, part(1, "Pod") + part(2, "ns") + part(3, "p"))
            + part(3, "Pulled")
            + part(5, part(1, "kubelet") + part(2, ""))
            + part(6, part(1, 60))
            + part(8, 2)
            + part(10, b"")
            + part(15, ""),
            {
                "involvedObject": {"kind": "Pod", "namespace": "ns", "name": "p"},
                "reason": "Pulled",
                "source": {"component": "kubelet"},
                "firstTimestamp": "1970-01-01T00:01:00Z",
                "count": 2,
            },
        ),
        (
            "policy/v1",
            "PodDisruptionBudget",
            part(1, METADATA)
            + part(2, part(1, part(1, 0) + part(2, 0)) + part(2, part(1, part(1, "a") + part(2, "b")))),
            {"spec": {"minAvailable": 0, "selector": {"matchLabels": {"a": "b"}}}},
        ),
    ],
)
def test_a_kind_is_read(api_version: str, kind: str, raw: bytes, expected: dict[str, Any]) -> None:
    """What clients send in protobuf is the object they mean, without Go's unset fields."""
    obj = decode_envelope(envelope(api_version, kind, raw))
    meta = {"name": "a", "labels": {"k": "v"}}
    assert obj == {"apiVersion": api_version, "kind": kind, "metadata": meta, **expected}


@pytest.mark.parametrize(
    ("api_version", "kind", "spec", "expected"),
    [
        ("policy/v1", "PodDisruptionBudget", part(2, b""), {"selector": {}}),
        (
            "apps/v1",
            "Deployment",
            part(1, 0) + part(2, b"") + part(4, part(1, "")) + part(5, 0) + part(6, 0),
            {"replicas": 0, "selector": {}, "revisionHistoryLimit": 0},
        ),
        (
            "v1",
            "Pod",
            part(3, "Always") + part(3, "") + part(4, 0) + part(11, 0) + part(21, 0) + part(30, 0),
            {
                "terminationGracePeriodSeconds": 0,
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
            },
        ),
        (
            "v1",
            "Service",
            part(4, "LoadBalancer") + part(20, 0),
            {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False},
        ),
        (
            "coordination.k8s.io/v1",
            "Lease",
            part(1, "") + part(3, b"") + part(4, part(1, 0) + part(2, 0)),
            {"holderIdentity": "", "renewTime": "1970-01-01T00:00:00.000000Z"},
        ),
    ],
)
def test_an_empty_pointer_is_set(api_version: str, kind: str, spec: bytes, expected: dict[str, Any]) -> None:
    """What Go writes only when it is set is kept when it is empty; what it always writes is not set then."""
    obj = decode_envelope(envelope(api_version, kind, part(1, METADATA) + part(2, spec)))
    assert obj["spec"] == expected


def test_a_deletion_without_grace_is_read() -> None:
    """A grace of 0 seconds is another wish than none."""
    obj = decode_envelope(envelope("v1", "DeleteOptions", part(1, 0)))
    assert obj == {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", 400),
        (b"{}", 400),
        (MAGIC + b"\xff\xff\xff", 400),
        (envelope("v1", "ConfigMap", b"\x0a\xff"), 400),
        (envelope("v1", "ConfigMap", part(1, 5)), 400),
        (envelope("v1", "ConfigMap", part(1, part(1, b"\xff"))), 400),
        (envelope("apps/v1", "DaemonSet", b""), 415),
        (envelope("v1", "Pod", part(2, part(1, part(1, "volume")))), 415),
    ],
)
def test_what_cannot_be_read_is_refused(body: bytes, code: int) -> None:
    """Malformed bodies are a 400; kinds and fields that are not read are a 415, never dropped."""
    with pytest.raises(StatusError) as error:
        decode_envelope(body)
    assert error.value.code == code


@given(st.binary(max_size=60), st.sampled_from(["ConfigMap", "Secret", "Pod", "Service"]))
def test_any_bytes_are_an_object_or_a_refusal(raw: bytes, kind: str) -> None:
    """Nothing makes the reader fail in another way."""
    for body in (MAGIC + raw, envelope("v1", kind, raw)):
        try:
            decode_envelope(body)
        except StatusError as error:
            if error.code not in (400, 415):
                raise
