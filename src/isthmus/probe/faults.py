"""From what sockets and TLS raise to what stopped a call: the one place where their errors are read.

Sources: connect(2); TLS 1.3, RFC 8446 §6.2, for the alerts; OpenSSL's reasons as ``ssl.SSLError.reason`` has them.
"""

import errno
import os
import ssl
from typing import Final

from isthmus.federation.findings import Fault

_BY_NUMBER: Final = {
    errno.ETIMEDOUT: Fault.TIMED_OUT,
    errno.ECONNRESET: Fault.CLOSED,
    errno.EPIPE: Fault.CLOSED,
}
_REFUSALS: Final = frozenset(
    {
        "ACCESS_DENIED",
        "BAD_CERTIFICATE",
        "CERTIFICATE_EXPIRED",
        "CERTIFICATE_REQUIRED",
        "CERTIFICATE_REVOKED",
        "CERTIFICATE_UNKNOWN",
        "DECRYPT_ERROR",
        "UNKNOWN_CA",
        "UNSUPPORTED_CERTIFICATE",
    }
)
"""Alerts by which a server says that it does not want our certificate."""
_ALERT: Final = "_ALERT_"


def fault_of_connect(error: OSError) -> Fault:
    """Why there is no connection: whatever is no silence is a refusal, be it the host's or the network's."""
    return Fault.TIMED_OUT if isinstance(error, TimeoutError) or error.errno == errno.ETIMEDOUT else Fault.REFUSED


def fault_of_tls(error: OSError, first_bytes: bytes) -> Fault:
    """Why a handshake, or what followed it, broke off; ``first_bytes`` are those that the other end began with."""
    if isinstance(error, TimeoutError):
        return Fault.TIMED_OUT
    if first_bytes and not _is_tls(first_bytes):
        return Fault.NOT_TLS
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return Fault.CLOSED
    if isinstance(error, ssl.SSLError):
        return Fault.CERTIFICATE_REFUSED if _alert(error) in _REFUSALS else Fault.TLS_FAILED
    return _BY_NUMBER.get(error.errno or 0, Fault.CLOSED)


def in_words(error: OSError) -> str:
    """What the system said, in one line."""
    match error:
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            return "the connection was closed"
        case ssl.SSLError() if alert := _alert(error):
            return f"the other end sent the TLS alert {alert.lower()}"
        case ssl.SSLError():
            return (getattr(error, "reason", None) or str(error)).replace("_", " ").lower()[:200]
        case _ if error.errno:
            return os.strerror(error.errno).lower()
        case _:
            return (str(error) or type(error).__name__).lower()[:200]


def shown(first_bytes: bytes) -> str:
    """How the other end began to talk, for people."""
    return ascii(first_bytes.decode("latin-1"))


def _is_tls(first_bytes: bytes) -> bool:
    """A record of TLS that a server may begin with: an alert (21) or a handshake (22), of version 3.x."""
    return first_bytes[0] in {21, 22} and first_bytes[1:2] in {b"", b"\x03"}


def _alert(error: ssl.SSLError) -> str:
    """The name of the alert that was received, ``UNKNOWN_CA``; empty if it was something else."""
    return (getattr(error, "reason", None) or "").partition(_ALERT)[2]
