"""The format of an access log of text: Envoy's operators, those of them that are safe, and four of our own.

Names in a line come from the other mesh, whose certificates and services say what they like. JSON's encoder keeps them
from forging lines; Envoy writes text as it is. So a text is made of operators only whose values Envoy cleans itself
(server names, subjects, failures, headers), and identities are told by an expression that lets nothing unprintable
pass. Source: Envoy "Access logging", "Format Rules" and "Command Operators".
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

DEFAULT: Final = (
    "[%START_TIME%] %KIND% %DIRECTION% peer=%PEER% service=%SERVICE% flags=%RESPONSE_FLAGS%"
    ' client=%DOWNSTREAM_PEER_URI_SAN% server=%UPSTREAM_PEER_URI_SAN% sni="%REQUESTED_SERVER_NAME%"'
    " source=%DOWNSTREAM_REMOTE_ADDRESS% upstream=%UPSTREAM_HOST%"
    " request=%REQ(:METHOD)%:%REQ(:PATH)% status=%RESPONSE_CODE%"
    " failure=%UPSTREAM_TRANSPORT_FAILURE_REASON%/%DOWNSTREAM_TRANSPORT_FAILURE_REASON%"
    " termination=%CONNECTION_TERMINATION_DETAILS%"
    " received=%BYTES_RECEIVED% sent=%BYTES_SENT% duration_ms=%DURATION%"
)
FACTS: Final = ("KIND", "DIRECTION", "PEER", "SERVICE")
"""Operators of our own: what a line is about. ``SERVICE`` is the exported name, told where it is known."""


class AccessFormatError(ValueError):
    """A format that cannot be used; the message says where and why."""


def _printable(attribute: str) -> str:
    return f"%CEL({attribute}.matches('^[!-~]*$') ? {attribute} : 'unprintable')%"


_REPLACED: Final = {
    "DOWNSTREAM_PEER_URI_SAN": _printable("connection.uri_san_peer_certificate"),
    "UPSTREAM_PEER_URI_SAN": _printable("upstream.uri_san_peer_certificate"),
}
_ADDRESSES: Final = (
    *(f"{prefix}_REMOTE_ADDRESS{port}" for prefix in ("DOWNSTREAM", "UPSTREAM") for port in ("", "_WITHOUT_PORT")),
    *(f"{prefix}_LOCAL_ADDRESS{port}" for prefix in ("DOWNSTREAM", "UPSTREAM") for port in ("", "_WITHOUT_PORT")),
    *(f"DOWNSTREAM_DIRECT_REMOTE_ADDRESS{port}" for port in ("", "_WITHOUT_PORT")),
    *("DOWNSTREAM_LOCAL_PORT", "DOWNSTREAM_REMOTE_PORT", "UPSTREAM_REMOTE_PORT", "UPSTREAM_HOST"),
)
_CERTIFICATES: Final = (
    *("DOWNSTREAM_PEER_SUBJECT", "DOWNSTREAM_PEER_ISSUER", "DOWNSTREAM_PEER_SERIAL", "DOWNSTREAM_PEER_FINGERPRINT_256"),
    *("DOWNSTREAM_PEER_CERT_V_START", "DOWNSTREAM_PEER_CERT_V_END", "DOWNSTREAM_TLS_VERSION", "DOWNSTREAM_TLS_CIPHER"),
    *("UPSTREAM_PEER_SUBJECT", "UPSTREAM_PEER_ISSUER", "UPSTREAM_PEER_CERT_V_START", "UPSTREAM_PEER_CERT_V_END"),
    *("UPSTREAM_TLS_VERSION", "UPSTREAM_TLS_CIPHER", "REQUESTED_SERVER_NAME"),
)
_OUTCOMES: Final = (
    *("START_TIME", "DURATION", "BYTES_RECEIVED", "BYTES_SENT", "CONNECTION_ID", "PROTOCOL"),
    *("RESPONSE_CODE", "RESPONSE_CODE_DETAILS", "RESPONSE_FLAGS", "RESPONSE_FLAGS_LONG"),
    *("CONNECTION_TERMINATION_DETAILS", "UPSTREAM_TRANSPORT_FAILURE_REASON", "DOWNSTREAM_TRANSPORT_FAILURE_REASON"),
    *("UPSTREAM_CONNECTION_ID", "UPSTREAM_REQUEST_ATTEMPT_COUNT", "UPSTREAM_WIRE_BYTES_SENT"),
    *("UPSTREAM_WIRE_BYTES_RECEIVED", "DOWNSTREAM_WIRE_BYTES_SENT", "DOWNSTREAM_WIRE_BYTES_RECEIVED"),
)
OPERATORS: Final = frozenset({*FACTS, *_REPLACED, *_ADDRESSES, *_CERTIFICATES, *_OUTCOMES, "REQ", "RESP"})
"""All that a format may use. Others tell secrets of the process, or what a peer says in words of its own."""
_SECRET_HEADERS: Final = frozenset({"authorization", "cookie", "proxy-authorization", "set-cookie"})

_PART: Final = re.compile(r"%%|%(?P<name>[A-Z0-9_]+)(?:\((?P<argument>[^()]{0,100})\))?(?::(?P<length>[0-9]{1,5}))?%|%")
_ARGUMENTS: Final = {
    "START_TIME": re.compile(r"[-%A-Za-z0-9 :.,/_+]+"),
    "REQ": re.compile(r":?[A-Za-z0-9_-]+(?:\?:?[A-Za-z0-9_-]+)?"),
    "RESP": re.compile(r":?[A-Za-z0-9_-]+(?:\?:?[A-Za-z0-9_-]+)?"),
}


@dataclass(frozen=True, slots=True)
class AccessFormat:
    """A format that was checked."""

    text: str

    @classmethod
    def parse(cls, text: str) -> "AccessFormat":
        """Check a format; an empty one is the default, and a last end of line is left out. Raises AccessFormatError."""
        text = text.removesuffix("\n")
        if not text.isprintable():
            raise AccessFormatError(f"{text[:80]!r} holds a control character: a line ends by itself")
        for part in _PART.finditer(text):
            _check(part, text)
        return cls(text or DEFAULT)

    def line(self, facts: Mapping[str, str]) -> str:
        """The format as Envoy takes it, with the ``FACTS`` of one kind of line put in: texts of ours, or operators."""

        def put(part: re.Match[str]) -> str:
            name = part["name"] or ""
            return facts.get(name, "-") if name in FACTS else _REPLACED.get(name, part[0])

        return _PART.sub(put, self.text) + "\n"


def _check(part: re.Match[str], text: str) -> None:
    name, argument = part["name"], part["argument"]
    if part[0] == "%%":
        return
    if name is None:
        raise AccessFormatError(
            f"a % at position {part.start()} of {text[:80]!r} begins no operator: write %% for the character"
        )
    if name not in OPERATORS:
        raise AccessFormatError(f"%{name}% is none of the operators that a format may use (docs/observability.md)")
    for problem in _argument_problems(name, argument):
        raise AccessFormatError(f"{part[0]}: {problem}")


def _argument_problems(name: str, argument: str | None) -> Iterator[str]:
    allowed = _ARGUMENTS.get(name)
    if allowed is None and argument is not None:
        yield "the operator takes no argument"
    if allowed is not None and argument is not None and not allowed.fullmatch(argument):
        yield f"{argument!r} cannot be its argument"
    if name in {"REQ", "RESP"} and argument is None:
        yield f"expected the name of a header, such as {name}(:PATH), or of two, such as {name}(A?B)"
    if name in {"REQ", "RESP"} and _SECRET_HEADERS & set((argument or "").lower().split("?")):
        yield "a header with secrets is not logged"
