"""Serve: what the administrator is told, in the status of each resource.

Writes are coalesced: the first few of a burst at once, then one a second for each resource, and always the last.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn

import msgspec
import structlog
from lightkube.types import PatchType

from isthmus.api import ExportedServiceSet, ImportedServiceSet, ServiceMeshPeer
from isthmus.api.selectors import ServiceMapping
from isthmus.backoff import Backoff
from isthmus.federation.export_table import ExportTable
from isthmus.federation.status import from_json, to_json
from isthmus.kube import Client, WorkQueue
from isthmus.kube.errors import NotFound, translated
from isthmus.pilot.link import Link

log = structlog.get_logger(__name__)

WRITES_PER_S = 1.0
BURST = 4.0
"""Writes that may follow each other at once after a quiet time: a link that goes up makes three or four changes, and
whoever has just created the resource is waiting for the last."""
Kind = type[ServiceMeshPeer] | type[ExportedServiceSet] | type[ImportedServiceSet]
_Key = tuple[Kind, str]


@dataclass(slots=True)
class _Pace:
    """How many writes one resource may still have at once; 0 <= tokens <= BURST."""

    tokens: float = BURST
    seen_at: float = 0.0

    def wait_s(self, now: float) -> float:
        """Seconds until the next write may be made; 0 if it may be now."""
        self.tokens = min(BURST, self.tokens + (now - self.seen_at) * WRITES_PER_S)
        self.seen_at = now
        return max(0.0, (1.0 - self.tokens) / WRITES_PER_S)

    def written(self) -> None:
        """A write was made."""
        self.tokens = max(0.0, self.tokens - 1.0)


class StatusWriter:
    """Writes the status of peers and of their export and import sets."""

    def __init__(
        self, client: Client, *, namespace: str, links: Mapping[str, Link], exports: Mapping[str, ExportTable]
    ) -> None:
        """``links`` and ``exports`` are those of all peers by name, live."""
        self._client = client
        self._namespace = namespace
        self._links = links
        self._exports = exports
        self._pace: dict[_Key, _Pace] = {}
        self._queue: WorkQueue[_Key] = WorkQueue("status", backoff=Backoff(first_s=0.05, longest_s=5.0))
        self._bodies: dict[Kind, Callable[[str, object], dict[str, Any] | None]] = {
            ServiceMeshPeer: self._peer,
            ExportedServiceSet: self._exported,
            ImportedServiceSet: self._imported,
        }

    async def run(self) -> NoReturn:
        """Write until cancelled."""
        await self._queue.run(self._write, workers=4)

    def peer_changed(self, peer: str) -> None:
        """The link to this peer fares differently."""
        self._queue.add((ServiceMeshPeer, peer))

    def sets_changed(self, peer: str) -> None:
        """Other services are exported to this peer, imported from it, or on offer."""
        self._queue.add((ExportedServiceSet, peer))
        self._queue.add((ImportedServiceSet, peer))

    async def _write(self, key: _Key) -> timedelta | None:
        pace = self._pace.setdefault(key, _Pace())
        wait_s = pace.wait_s(asyncio.get_running_loop().time())
        if wait_s > 0:
            return timedelta(seconds=wait_s)
        kind, name = key
        try:
            await self._patch(kind, name)
        except NotFound:
            self._pace.pop(key, None)
        return None

    async def _patch(self, kind: Kind, name: str) -> None:
        """Read, merge, write; a write in between makes the API server refuse ours, and the queue tries again."""
        with translated(f"read {kind.__name__} {self._namespace}/{name}"):
            current = await self._client.api.get(kind, name, namespace=self._namespace)
        present = msgspec.to_builtins(current.status) if current.status is not None else {}
        body = self._bodies[kind](name, present)
        if body is None or all(present.get(field) == value for field, value in body.items()):
            return
        patch = {"metadata": {"resourceVersion": current.metadata.resourceVersion}, "status": body}
        self._pace.setdefault((kind, name), _Pace()).written()
        with translated(f"write the status of {kind.__name__} {self._namespace}/{name}"):
            await self._client.api.patch(
                kind.Status, name, patch, namespace=self._namespace, patch_type=PatchType.MERGE
            )

    def _peer(self, name: str, present: object) -> dict[str, Any] | None:
        link = self._links.get(name)
        if link is None:
            return None
        before = present.get("discoveryStatus") if isinstance(present, dict) else None
        return {"discoveryStatus": to_json(from_json(_jsonable(before)).merged(link.pruned_entry()))}

    def _exported(self, name: str, present: object) -> dict[str, Any] | None:
        table = self._exports.get(name)
        return {"exportedServices": _mappings(table.status() if table is not None else ())}

    def _imported(self, name: str, present: object) -> dict[str, Any] | None:
        link = self._links.get(name)
        return {"importedServices": _mappings(link.imports.status() if link is not None else ())}


def _mappings(mappings: tuple[ServiceMapping, ...]) -> Any:
    return _jsonable(mappings)


def _jsonable(value: object) -> Any:
    """The value as it stands in JSON: lists for tuples, texts for times."""
    return msgspec.json.decode(msgspec.json.encode(value))
