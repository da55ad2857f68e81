"""The wire form of the certificate service's messages."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.ca.messages import CertificateRequest, CertificateResponse


@given(st.text(max_size=50), st.integers(0, 10**8))
def test_a_request_survives_the_wire(csr: str, seconds: int) -> None:
    """``from_wire`` is the inverse of ``to_wire``."""
    request = CertificateRequest(csr, timedelta(seconds=seconds))
    assert CertificateRequest.from_wire(request.to_wire()) == CertificateRequest(
        csr, timedelta(seconds=min(seconds, 315360000))
    )


@given(st.lists(st.text(max_size=50), max_size=4))
def test_a_response_survives_the_wire(chain: list[str]) -> None:
    """``from_wire`` is the inverse of ``to_wire``."""
    assert CertificateResponse.from_wire(CertificateResponse(tuple(chain)).to_wire()).cert_chain == tuple(chain)


@pytest.mark.parametrize(
    ("wire", "request_"),
    [
        pytest.param(b"", CertificateRequest(""), id="empty"),
        pytest.param(b"\x0a\x01c", CertificateRequest("c"), id="field 1 is the CSR"),
        pytest.param(b"\x18\x0a", CertificateRequest("", timedelta(seconds=10)), id="field 3 is the validity"),
        pytest.param(b"\x0a\x01c\x22\x00", CertificateRequest("c"), id="field 4, metadata, is not looked at"),
        pytest.param(
            b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
            CertificateRequest("", timedelta(days=3650)),
            id="a validity beyond all bounds",
        ),
    ],
)
def test_requests_are_read_by_field_number(wire: bytes, request_: CertificateRequest) -> None:
    """The bytes that clients of Istio send."""
    assert CertificateRequest.from_wire(wire) == request_


def test_what_is_no_message_is_refused() -> None:
    """Bytes that are no protobuf message raise ValueError with the message's name."""
    with pytest.raises(ValueError, match=r"istio\.v1\.auth\.IstioCertificateRequest"):
        CertificateRequest.from_wire(b"\x0a\xff")
