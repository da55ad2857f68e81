"""Orders and reports as JSON, both ways, and against whatever bytes may come."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.federation.findings import Attempt, CertificateFacts, Fault, ProbeReport, RequestReport, Step
from isthmus.probe import BadOrderError, ProbeOrder, RequestOrder
from isthmus.probe.orders import MAX_ORDER_BYTES, MAX_REPORT_BYTES, parse_order, parse_report

_T = TypeVar("_T")
MOMENTS = st.datetimes(timezones=st.just(UTC), min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1))  # noqa: DTZ001  (hypothesis adds the zone)
FACTS = st.builds(CertificateFacts, fingerprint=st.text(), not_before=MOMENTS, not_after=MOMENTS)
ATTEMPTS = st.builds(
    Attempt,
    address=st.text(),
    port=st.integers(1, 65535),
    reached=st.none() | st.sampled_from(Step),
    fault=st.none() | st.sampled_from(Fault),
    certificate=st.none() | FACTS,
    connect_ms=st.none() | st.floats(0, 1e6),
)
REPORTS = st.builds(ProbeReport, pod=st.text(), at=MOMENTS, attempts=st.lists(ATTEMPTS, max_size=3).map(tuple))
ORDER = ProbeOrder(addresses=("127.0.0.1",), port=8188, server_name="a.b", trust_domain="green.local", roots="PEM")


@given(REPORTS)
def test_a_report_comes_out_as_it_went_in(report: ProbeReport) -> None:
    """Encoding and decoding are each other's inverse."""
    assert parse_report(msgspec.json.encode(report), ProbeReport) == report


def test_an_order_comes_out_as_it_went_in() -> None:
    """Likewise, with the names on the wire."""
    body = msgspec.json.encode(ORDER)
    assert parse_order(body, ProbeOrder) == ORDER
    assert {"addresses", "serverName", "trustDomain", "timeoutS"} <= set(msgspec.json.decode(body))


def test_unknown_keys_are_ignored() -> None:
    """The other end may be of another age."""
    asked = {**msgspec.to_builtins(ORDER), "more": 1}
    assert parse_order(msgspec.json.encode(asked), ProbeOrder) == ORDER


KEYS = st.sampled_from(sorted(ProbeOrder.__struct_encode_fields__))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner),
    max_leaves=10,
)
BYTES = st.binary(max_size=300) | JSON.map(msgspec.json.encode)


def result_of(parse: Callable[[], _T]) -> _T | str:
    """What it gives, or the text of its BadOrderError; any other error fails the test."""
    try:
        return parse()
    except BadOrderError as error:
        return str(error)


@given(BYTES)
def test_no_bytes_break_the_parser_of_orders(body: bytes) -> None:
    """Whatever comes is an order within its bounds, or a BadOrderError of one short line."""
    for order in (
        result_of(lambda: parse_order(body, ProbeOrder)),
        result_of(lambda: parse_order(body, RequestOrder)),
    ):
        assert len(order) < 400 if isinstance(order, str) else 0 < order.timeout_s <= 30


@given(BYTES)
def test_no_bytes_break_the_parser_of_reports(body: bytes) -> None:
    """Likewise for what a gateway answers."""
    for report in (
        result_of(lambda: parse_report(body, ProbeReport)),
        result_of(lambda: parse_report(body, RequestReport)),
    ):
        assert len(report) < 400 if isinstance(report, str) else report.at is not None


BAD: dict[str, dict[str, object]] = {
    "no address": {"addresses": []},
    "too many addresses": {"addresses": ["a"] * 17},
    "an address that is none": {"addresses": ["a b"]},
    "a line break": {"addresses": ["a\n"]},
    "a path elsewhere": {"path": "/v1/peer/../x"},
    "a port that is none": {"port": 0},
    "too long a time": {"timeoutS": 31},
    "no time": {"timeoutS": 0},
    "a header in the name": {"serverName": "a\r\nx: y"},
}


@pytest.mark.parametrize("name", BAD)
def test_values_out_of_their_bounds(name: str) -> None:
    """Each is refused."""
    with pytest.raises(BadOrderError):
        parse_order(msgspec.json.encode({**msgspec.to_builtins(ORDER), **BAD[name]}), ProbeOrder)


def test_what_is_too_long_is_not_read() -> None:
    """Neither an order nor a report."""
    with pytest.raises(BadOrderError, match="longer than"):
        parse_order(b" " * (MAX_ORDER_BYTES + 1), ProbeOrder)
    with pytest.raises(BadOrderError, match="longer than"):
        parse_report(b" " * (MAX_REPORT_BYTES + 1), ProbeReport)
