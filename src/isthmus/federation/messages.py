"""The messages between meshes as values, and their JSON.

Not here: HTTP (``discovery``), the checksum's arithmetic (``checksum``).
Source: docs/protocol.md §2 "Messages". Keys with an empty value are left out, unknown keys are ignored, and the
order of the fields below is the order of the keys on the wire. ``health`` and ``locality`` are additions of this
project that an old peer ignores; they are outside the checksum.

What a peer sends is data, not trusted: every ``parse_*`` bounds the bytes, the numbers and the lengths of what it
accepts, and raises :class:`MalformedMessageError` for all else.
"""

import sys
from functools import lru_cache
from typing import Annotated, Final, Literal, TypeVar

import msgspec

MAX_LIST_BYTES: Final = 32 * 1024 * 1024
"""Longest service list that is accepted: some 80 000 services of 400 bytes, and what one peer may make us hold."""
MAX_EVENT_BYTES: Final = 256 * 1024
"""Longest watch event that is accepted: one service with the most ports and accounts that a message may have."""
MAX_SERVICES: Final = 50_000
MAX_PORTS: Final = 1_000
MAX_SERVICE_ACCOUNTS: Final = 100
MAX_NAME_LENGTH: Final = 253
MAX_SPIFFE_ID_LENGTH: Final = 2048
MAX_CHECKSUM: Final = 2**64 - 1
FEW: Final = 4
"""Ports or accounts that are kept once for all services that have the same: longer lists would fill what keeps them."""

_Name = Annotated[str, msgspec.Meta(max_length=MAX_NAME_LENGTH)]
_SpiffeUri = Annotated[str, msgspec.Meta(max_length=MAX_SPIFFE_ID_LENGTH)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class MalformedMessageError(ValueError):
    """A peer sent what is not a message of the protocol; what was known before stays valid, ask for the list again."""


class ServicePort(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """One port of an exported service; ``protocol`` in upper case: HTTP, GRPC, TCP …"""

    name: _Name = ""
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    protocol: _Name = ""


class Health(msgspec.Struct, frozen=True, rename="camel"):
    """How many endpoints stand behind an exported service, and how many of them are ready."""

    ready: _Count
    total: _Count

    def tells_more_than(self, before: "Health | None") -> bool:
        """Whether a peer that knows ``before`` must hear of this: the first pod is ready, or the last no longer is.

        Other counts are not told, or each pod that comes or goes would cost a message. Unknown counts as ready.
        """
        was_ready = before is None or before.ready > 0
        return was_ready != (self.ready > 0)


class Locality(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Where the exporter runs, in Kubernetes' and Envoy's words."""

    region: _Name = ""
    zone: _Name = ""
    subzone: _Name = ""


_Values = TypeVar("_Values", bound=tuple[object, ...])


class ServiceMessage(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """One exported service, under its exported name.

    ``hostname`` is ``<name>.<namespace>.svc.<peer>-exports.local`` and identifies the service in its list.
    ``service_accounts`` are the SPIFFE ids (with scheme) of the exporter's ingress gateway for the peer.
    """

    name: _Name = ""
    namespace: _Name = ""
    hostname: _Name = ""
    service_ports: Annotated[tuple[ServicePort, ...], msgspec.Meta(max_length=MAX_PORTS)] = ()
    service_accounts: Annotated[tuple[_SpiffeUri, ...], msgspec.Meta(max_length=MAX_SERVICE_ACCOUNTS)] = ()
    health: Health | None = None
    locality: Locality | None = None

    def __post_init__(self) -> None:
        """Keep once what many services of a peer have in common, and what an import remembers in other places too."""
        for field in ("name", "namespace", "hostname"):
            msgspec.structs.force_setattr(self, field, sys.intern(getattr(self, field)))
        msgspec.structs.force_setattr(self, "service_ports", _shared(self.service_ports))
        msgspec.structs.force_setattr(self, "service_accounts", _shared(self.service_accounts))


def _shared(values: _Values) -> _Values:
    return _kept(values) if len(values) <= FEW else values


@lru_cache(maxsize=256)
def _kept(values: _Values) -> _Values:
    return values


class ServiceList(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """All services that a mesh exports to one peer, sorted by hostname; ``0 <= checksum < 2**64``."""

    checksum: int
    services: Annotated[tuple[ServiceMessage, ...], msgspec.Meta(max_length=MAX_SERVICES)] = ()


class WatchEvent(msgspec.Struct, frozen=True, rename="camel"):
    """One change of that list; ``checksum`` is the one of the list after it."""

    action: Literal["add", "update", "delete"]
    service: ServiceMessage
    checksum: int


class LinkView(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    """The exporter's view of one link, for the administrator on the other side; an addition of this project.

    ``client_id`` is who may speak for the importer, ``sources`` who watches, ``exports`` how many services it is
    shown, ``last_error`` what last went wrong with it at the exporter, in words. ``knows`` is how many of the
    importer's own exports the exporter knows of, ``imports`` how many of these it uses; None if it does not tell.
    """

    peer: _Name
    client_id: _SpiffeUri = ""
    sources: Annotated[tuple[_Name, ...], msgspec.Meta(max_length=1000)] = ()
    exports: _Count = 0
    last_error: Annotated[str, msgspec.Meta(max_length=1000)] = ""
    knows: _Count | None = None
    imports: _Count | None = None


_Message = TypeVar("_Message", ServiceMessage, ServiceList, WatchEvent, LinkView)
_encoder: Final = msgspec.json.Encoder()
_list_decoder: Final = msgspec.json.Decoder(ServiceList)
_event_decoder: Final = msgspec.json.Decoder(WatchEvent)
_view_decoder: Final = msgspec.json.Decoder(LinkView)
_service_decoder: Final = msgspec.json.Decoder(ServiceMessage)


def encode(message: ServiceMessage | ServiceList | WatchEvent | LinkView) -> bytes:
    """The message's JSON, without white space and without a line end."""
    return _encoder.encode(message)


def parse_service_list(body: bytes) -> ServiceList:
    """Read the body of a peer's answer to ``GET /v1/services``; its checksum is not verified here.

    Raises MalformedMessageError: longer than MAX_LIST_BYTES, not JSON, not this shape, beyond the bounds above,
    a checksum that is not an unsigned 64-bit integer, a service without a hostname, or one hostname twice.
    """
    services = _parse(_list_decoder, body, what="service list", limit=MAX_LIST_BYTES)
    _check_checksum(services.checksum, what="service list")
    hostnames = {_hostname(service, what="service list") for service in services.services}
    if len(hostnames) != len(services.services):
        raise MalformedMessageError("Cannot use a service list that names a hostname twice: hostnames must be unique")
    return services


def parse_watch_event(line: bytes) -> WatchEvent:
    """Read one event of a peer's watch; its checksum is not verified here.

    Raises MalformedMessageError: as for a list, with MAX_EVENT_BYTES, or an action other than add, update, delete.
    """
    event = _parse(_event_decoder, line, what="watch event", limit=MAX_EVENT_BYTES)
    _check_checksum(event.checksum, what="watch event")
    _hostname(event.service, what="watch event")
    return event


def parse_service(body: bytes) -> ServiceMessage:
    """Read one service that was stored earlier; raises MalformedMessageError, as for an event."""
    service = _parse(_service_decoder, body, what="stored service", limit=MAX_EVENT_BYTES)
    _hostname(service, what="stored service")
    return service


def parse_link_view(body: bytes) -> LinkView:
    """Read the body of a peer's answer to ``GET /v1/peer``; raises MalformedMessageError, as for an event."""
    return _parse(_view_decoder, body, what="link view", limit=MAX_EVENT_BYTES)


def _parse(decoder: msgspec.json.Decoder[_Message], body: bytes, *, what: str, limit: int) -> _Message:
    if len(body) > limit:
        raise MalformedMessageError(f"Cannot use a {what} of {len(body)} bytes: at most {limit} are accepted")
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedMessageError(f"Cannot read a {what} from {_excerpt(body)}: {error}") from error


def _check_checksum(checksum: int, *, what: str) -> None:
    # msgspec's bounds end at 63 bits, so this one is checked by hand.
    if not 0 <= checksum <= MAX_CHECKSUM:
        raise MalformedMessageError(
            f"Cannot use a {what} with checksum {checksum}: expected an unsigned 64-bit integer"
        )


def _hostname(service: ServiceMessage, *, what: str) -> str:
    if not service.hostname:
        raise MalformedMessageError(f"Cannot use a {what} with service {service.name!r}: it has no hostname")
    return service.hostname


def _excerpt(body: bytes) -> str:
    """Enough of foreign bytes to recognise them in a log, printable."""
    shown = ascii(body[:60].decode("utf-8", "replace"))
    return shown if len(body) <= 60 else f"{shown}… ({len(body)} bytes)"
