"""What the administrator is told of a link to a peer: ``status.discoveryStatus`` of a ServiceMeshPeer.

Every control-plane pod writes an entry of its own: its watch of the peer, and the peer's pods (``remotes``) that watch
it. Values and transitions only; ``now`` comes in as an argument, who writes them to the cluster is ``pilot``.

Source: ServiceMeshPeer's API, ``federation.maistra.io/v1``, types ServiceMeshPeerDiscoveryStatus,
PodPeerDiscoveryStatus and DiscoveryConnectionStatus. Its text says that ``lastConnected`` is when a connection
succeeded; so it is here, though the original stamps the attempt.
"""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

import msgspec

REMOTE_KEPT: Final = timedelta(minutes=5)
"""How long a remote that went away is still told of."""
MOST_REMOTES: Final = 100
"""Remotes that are told of at once: where they come from is the peer's word, and an object of Kubernetes has bounds."""
MAX_CAUSE_LENGTH: Final = 300
"""A cause is one line in the output of kubectl, whatever a peer put into its answer."""


class WatchStatus(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    """One connection between two control planes, seen from one end; times are UTC in whole seconds.

    ``last_disconnect`` is set only if it had been connected; ``last_disconnect_status`` is the HTTP status line or the
    cause in words of the last disconnect or of the last attempt that failed.
    """

    connected: bool
    last_connected: datetime | None = None
    last_event: datetime | None = None
    last_full_sync: datetime | None = None
    last_disconnect: datetime | None = None
    last_disconnect_status: str = ""

    def succeeded(self, now: datetime) -> Self:
        """The connection was made."""
        return msgspec.structs.replace(self, connected=True, last_connected=_second(now))

    def got_event(self, now: datetime) -> Self:
        """A change of the service list came, or was sent, over it."""
        return msgspec.structs.replace(self, last_event=_second(now))

    def got_list(self, now: datetime) -> Self:
        """The whole service list came, or was sent."""
        return msgspec.structs.replace(self, last_full_sync=_second(now))

    def failed(self, now: datetime, *, cause: str = "") -> Self:
        """It was lost, or could not be made; an empty ``cause`` leaves the last one."""
        return msgspec.structs.replace(
            self,
            connected=False,
            last_disconnect=_second(now) if self.connected else self.last_disconnect,
            last_disconnect_status=_line(cause) or self.last_disconnect_status,
        )


class RemoteStatus(WatchStatus, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    """A control-plane pod of the peer that watches, or watched, us; ``source`` is where it came from."""

    source: str

    def is_gone(self, now: datetime) -> bool:
        """It has been away for so long that nobody needs to hear of it, or since a time to come: a clock was set."""
        if self.connected:
            return False
        left = self.last_disconnect
        return left is None or not timedelta(0) <= now - left <= REMOTE_KEPT


class PodDiscoveryStatus(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    """What one of our control-plane pods knows of the link; ``remotes`` are sorted by source."""

    pod: str
    remotes: tuple[RemoteStatus, ...] = ()
    watch: WatchStatus

    @classmethod
    def of(cls, pod: str) -> Self:
        """The entry of a pod that has just begun."""
        return cls(pod=pod, watch=WatchStatus(connected=False))

    def with_watch(self, watch: WatchStatus) -> Self:
        return msgspec.structs.replace(self, watch=watch)

    def remote(self, source: str) -> RemoteStatus:
        """The remote from ``source``; one that has never been connected if it is new."""
        known = (remote for remote in self.remotes if remote.source == source)
        return next(known, RemoteStatus(source=source, connected=False))

    def with_remote(self, remote: RemoteStatus) -> Self:
        """This remote in the place of the one with the same source; of too many the one that left first is left out."""
        by_source = {known.source: known for known in self.remotes} | {remote.source: remote}
        if len(by_source) > MOST_REMOTES:
            del by_source[min(by_source.values(), key=_last_seen).source]
        return msgspec.structs.replace(self, remotes=tuple(by_source[source] for source in sorted(by_source)))

    def pruned(self, now: datetime) -> Self:
        """Without the remotes that have been away for more than REMOTE_KEPT."""
        return msgspec.structs.replace(self, remotes=tuple(r for r in self.remotes if not r.is_gone(now)))


class DiscoveryStatus(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The entries of all pods: ``active`` those whose watch is connected; each list sorted by pod, no pod twice."""

    active: tuple[PodDiscoveryStatus, ...] = ()
    inactive: tuple[PodDiscoveryStatus, ...] = ()

    @classmethod
    def of(cls, entries: Collection[PodDiscoveryStatus]) -> Self:
        """Sort the entries; of one pod, the last counts."""
        by_pod = {entry.pod: entry for entry in entries}
        ordered = [by_pod[pod] for pod in sorted(by_pod)]
        return cls(
            active=tuple(entry for entry in ordered if entry.watch.connected),
            inactive=tuple(entry for entry in ordered if not entry.watch.connected),
        )

    @property
    def entries(self) -> tuple[PodDiscoveryStatus, ...]:
        return self.active + self.inactive

    def merged(self, entry: PodDiscoveryStatus) -> Self:
        """With one pod's entry in the place of its former one; the others' entries stay as they are."""
        return self.of((*self.entries, entry))

    def without_pods_but(self, alive: Collection[str]) -> Self:
        """Without the entries of pods that no longer exist; the leader's task."""
        return self.of([entry for entry in self.entries if entry.pod in alive])


def to_json(status: DiscoveryStatus) -> dict[str, Any]:
    """The value of ``status.discoveryStatus`` as the API server takes it."""
    # Any: the JSON of a Kubernetes object, as every client library wants it.
    # Through bytes, because msgspec's builtins would keep the tuples, and what the API server gives back has lists.
    value: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(status))
    return value


def from_json(value: object) -> DiscoveryStatus:
    """Read what stands in the cluster; what was written by hand and is no such status counts as none.

    The API server's schema lets only this shape through; null lists, which it allows, are empty ones.
    """
    if not isinstance(value, dict):
        return DiscoveryStatus()
    try:
        return msgspec.convert({key: entries for key, entries in value.items() if entries is not None}, DiscoveryStatus)
    except msgspec.ValidationError:
        return DiscoveryStatus()


def _last_seen(remote: RemoteStatus) -> tuple[bool, datetime, str]:
    """Sorts remotes by when they were there last: those that are connected come after those that are not."""
    seen = (remote.last_disconnect, remote.last_connected)
    return remote.connected, max(filter(None, seen), default=datetime.min.replace(tzinfo=UTC)), remote.source


def _second(now: datetime) -> datetime:
    return now.astimezone(UTC).replace(microsecond=0)


def _line(cause: str) -> str:
    return " ".join(cause.split())[:MAX_CAUSE_LENGTH]
