"""The operator as a process."""

import pytest

from isthmus.operator.process import response


@pytest.mark.parametrize(
    ("request_", "ready", "status"),
    [
        (b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n", True, b"200"),
        (b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n", False, b"503"),
        (b"GET /readyness HTTP/1.1\r\n\r\n", True, b"404"),
        (b"POST /ready HTTP/1.1\r\n\r\n", True, b"404"),
        (b"\r\n\r\n", True, b"404"),
    ],
)
def test_readiness(request_: bytes, ready: bool, status: bytes) -> None:
    """A probe is told whether the operator works, and nothing else is answered."""
    assert response(request_, ready=ready).startswith(b"HTTP/1.1 " + status)
