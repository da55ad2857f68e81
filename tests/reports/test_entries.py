"""Entries of the access log service as values: what is kept, cut and left out."""

from typing import Any

import pytest
from envoy.service.accesslog.v3 import als_pb2
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from isthmus.reports import GatewayReport, reports_of
from isthmus.reports.entries import MAX_ENTRIES, MAX_TEXT

CLIENT = "spiffe://red-mesh.local/ns/red-mesh-system/sa/egress"


def common(**more: Any) -> dict[str, Any]:
    """What entries of both kinds have."""
    return {
        "downstream_direct_remote_address": {"socket_address": {"address": "192.0.2.9", "port_value": 40000}},
        "tls_properties": {
            "tls_sni_hostname": "discovery.red-mesh-system.svc.green-mesh.local",
            "peer_certificate_properties": {"subject_alt_name": [{"dns": "x"}, {"uri": CLIENT}]},
        },
        **more,
    }


def test_a_refused_connection() -> None:
    """Where it came from, whom it claimed to be, what it asked for, and why it was refused."""
    entry = {"common_properties": common(downstream_transport_failure_reason="CERTIFICATE_VERIFY_FAILED")}
    message = als_pb2.StreamAccessLogsMessage(tcp_logs={"log_entry": [entry]})
    (found,) = reports_of(message, "refused")
    assert found == GatewayReport(
        log="refused",
        source="192.0.2.9",
        identity=CLIENT,
        server_name="discovery.red-mesh-system.svc.green-mesh.local",
        failure="CERTIFICATE_VERIFY_FAILED",
    )


def test_a_request_that_did_not_succeed() -> None:
    """Its status, its details, the peer that it was for, and what Envoy flagged."""
    properties = common(
        custom_tags={"peer": "green-mesh"},
        upstream_transport_failure_reason="no route",
        upstream_remote_address={"socket_address": {"address": "192.0.2.1"}},
        response_flags={"upstream_connection_failure": True},
    )
    entry = {
        "common_properties": properties,
        "response": {"response_code": {"value": 503}, "response_code_details": "upstream_reset"},
    }
    message = als_pb2.StreamAccessLogsMessage(http_logs={"log_entry": [entry]})
    (found,) = reports_of(message, "discovery")
    assert (found.peer, found.status, found.details, found.upstream) == (
        "green-mesh",
        503,
        "upstream_reset",
        "192.0.2.1",
    )
    assert (found.flags, found.failure) == (("upstream_connection_failure",), "no route")


def test_what_callers_choose_is_cut_and_printable() -> None:
    """A name of a megabyte with line ends in it becomes a short line."""
    properties = {"tls_properties": {"tls_sni_hostname": "a\nb\x1b[31m" + "c" * 1_000_000}}
    message = als_pb2.StreamAccessLogsMessage(tcp_logs={"log_entry": [{"common_properties": properties}]})
    (found,) = reports_of(message, "refused")
    assert len(found.server_name) <= MAX_TEXT
    assert found.server_name.startswith("a b [31m")
    assert found.server_name.isprintable()


def test_of_many_entries_some_are_enough() -> None:
    """A message with thousands of refused calls costs as much as one with a hundred."""
    message = als_pb2.StreamAccessLogsMessage(tcp_logs={"log_entry": [{}] * (MAX_ENTRIES * 3)})
    assert len(list(reports_of(message, "refused"))) == MAX_ENTRIES


@given(st.binary(max_size=400))
def test_any_bytes_are_entries_or_none(body: bytes) -> None:
    """Whatever a gateway sends, it is no message, or its entries are values."""
    try:
        message = als_pb2.StreamAccessLogsMessage.FromString(body)
    except DecodeError:
        return
    assert all(isinstance(each, GatewayReport) for each in reports_of(message, "refused"))


@pytest.mark.parametrize("log", ["refused", "discovery"])
def test_a_message_without_entries_says_nothing(log: str) -> None:
    """The first message of a stream may tell who speaks, and no more."""
    assert list(reports_of(als_pb2.StreamAccessLogsMessage(identifier={"log_name": log}), log)) == []
