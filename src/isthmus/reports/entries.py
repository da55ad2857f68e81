"""Entries of Envoy's access log service as values. Pure.

Much of an entry was chosen by whoever called: identities, server names and reasons are cut to a line, and nothing of
them is believed. Source: Envoy ``envoy.data.accesslog.v3``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from isthmus.envoy.failure_log import PEER_TAG

MAX_TEXT: Final = 300
MAX_ENTRIES: Final = 100
"""Entries of one message that are looked at; more of them say nothing new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayReport:
    """One call that failed at a gateway. Texts are empty where Envoy does not know."""

    log: str
    """Which log it is from: ``refused``, ``discovery`` or ``calls`` (``envoy.failure_log``)."""
    peer: str = ""
    """The peer that the gateway took the call for."""
    source: str = ""
    """IP address of the caller."""
    identity: str = ""
    """The URI in the caller's certificate; in log ``refused`` a claim that was not believed."""
    server_name: str = ""
    upstream: str = ""
    status: int = 0
    """Of the answer to a discovery request."""
    details: str = ""
    failure: str = ""
    """Why TLS failed, towards the caller or towards the upstream."""
    flags: tuple[str, ...] = ()
    """Names of Envoy's response flags."""


def reports_of(message: Any, log: str) -> Iterator[GatewayReport]:
    """The entries of one message of the stream whose log is called so; at most MAX_ENTRIES."""
    for entry in list(message.tcp_logs.log_entry)[:MAX_ENTRIES]:
        yield _report(log, entry.common_properties)
    for entry in list(message.http_logs.log_entry)[:MAX_ENTRIES]:
        response = entry.response
        yield _report(
            log,
            entry.common_properties,
            status=response.response_code.value,
            details=_line(response.response_code_details),
        )


def _report(log: str, common: Any, **more: Any) -> GatewayReport:
    certificate = common.tls_properties.peer_certificate_properties
    uris = [name.uri for name in certificate.subject_alt_name if name.uri]
    failure = common.downstream_transport_failure_reason or common.upstream_transport_failure_reason
    return GatewayReport(
        log=log,
        peer=_line(common.custom_tags.get(PEER_TAG, "")),
        source=common.downstream_direct_remote_address.socket_address.address,
        identity=_line(uris[0]) if uris else "",
        server_name=_line(common.tls_properties.tls_sni_hostname),
        upstream=_line(common.upstream_remote_address.socket_address.address),
        failure=_line(failure),
        flags=tuple(sorted(field.name for field, value in common.response_flags.ListFields() if value is True)),
        **more,
    )


def _line(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text[:MAX_TEXT]).strip()
