"""Events: what happened to an object, for the administrator who asks ``kubectl describe`` (core/v1 Event)."""

import secrets
from datetime import UTC, datetime
from typing import Any

import httpx2
import structlog
from lightkube import AsyncClient
from lightkube.models.core_v1 import EventSource, ObjectReference
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Event

from isthmus.lab.client.objects import metadata_of

log = structlog.get_logger()


class EventRecorder:
    """Writes Events; the same reason and message about the same object is counted, not repeated."""

    def __init__(self, client: AsyncClient, *, component: str, host: str = "") -> None:
        self._client = client
        self._source = EventSource(component=component, host=host or None)
        self._seen: dict[tuple[str | None, str, str], tuple[str, int]] = {}

    async def record(self, obj: Any, *, reason: str, message: str, warning: bool = False) -> None:
        """Write one Event about ``obj`` (any lightkube object). A refusal is only logged: no work fails for it."""
        identity = (metadata_of(obj).uid, reason, message)
        try:
            if identity in self._seen:
                await self._count(obj, identity)
            else:
                await self._create(obj, identity, warning=warning)
        except httpx2.HTTPError as error:
            log.info("event not recorded", reason=reason, error=str(error))

    async def _create(self, obj: Any, identity: tuple[str | None, str, str], *, warning: bool) -> None:
        metadata = metadata_of(obj)
        now = datetime.now(UTC).replace(microsecond=0)
        namespace = metadata.namespace or "default"
        name = f"{metadata.name}.{secrets.token_hex(8)}"
        event = Event(
            metadata=ObjectMeta(name=name, namespace=namespace),
            involvedObject=_reference(obj),
            reason=identity[1],
            message=identity[2],
            type="Warning" if warning else "Normal",
            source=self._source,
            firstTimestamp=now,
            lastTimestamp=now,
            count=1,
            reportingComponent=self._source.component,
            reportingInstance=self._source.host or "",
        )
        await self._client.create(event)
        self._remember(identity, name)

    def _remember(self, identity: tuple[str | None, str, str], name: str) -> None:
        if len(self._seen) > 1000:  # bounded: the oldest is forgotten, and would then be written as a new Event
            self._seen.pop(next(iter(self._seen)))
        self._seen[identity] = (name, 1)

    async def _count(self, obj: Any, identity: tuple[str | None, str, str]) -> None:
        name, count = self._seen[identity]
        self._seen[identity] = (name, count + 1)
        now = datetime.now(UTC).replace(microsecond=0)
        patch = {"count": count + 1, "lastTimestamp": now.isoformat().replace("+00:00", "Z")}
        await self._client.patch(Event, name, patch, namespace=metadata_of(obj).namespace or "default")


def _reference(obj: Any) -> ObjectReference:
    metadata = metadata_of(obj)
    definition = type(obj)._api_info.resource  # noqa: SLF001 - lightkube publishes the kind of a class only there
    return ObjectReference(
        apiVersion=definition.api_version,
        kind=definition.kind,
        name=metadata.name,
        namespace=metadata.namespace,
        uid=metadata.uid,
        resourceVersion=metadata.resourceVersion,
    )
