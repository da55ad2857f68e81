"""Kubernetes Events: what became of a resource, for ``kubectl describe`` and whoever collects them.

One for each transition of the condition that sums a resource up, none for a retry. An Event that cannot be written is
lost: the condition itself stands in the resource. Source: Kubernetes API, core/v1 Event.
"""

from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

import structlog
from lightkube.models.core_v1 import EventSource, ObjectReference
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Event

from isthmus.api.meta import Condition
from isthmus.kube import Client, identity_of
from isthmus.kube.errors import KubeError, translated

log = structlog.get_logger(__name__)

COMPONENT: Final = "istiod"
MAX_MESSAGE_LENGTH: Final = 1024
"""What the API server takes."""
_PASSING: Final = {"Connecting", "Waiting"}
"""Reasons of a state that is on its way to another: no transition that anyone wants to be told of."""


class Events:
    """Writes the Events of one replica."""

    def __init__(self, client: Client, *, pod: str) -> None:
        """``pod`` is the name of this replica."""
        self._client = client
        self._pod = pod

    async def transition(self, resource: Any, before: Condition | None, after: Condition) -> None:
        """Tell of a condition that is another than before, if it is and if it matters."""
        known = (before.status, before.reason) if before is not None else None
        if known == (after.status, after.reason) or after.reason in _PASSING:
            return
        try:
            with translated(f"write an Event of {identity_of(resource)}"):
                await self._client.api.create(self._event(resource, after))
        except KubeError as error:
            log.info("event lost", object=str(identity_of(resource)), reason=after.reason, error=str(error))

    def _event(self, resource: Any, condition: Condition) -> Event:
        metadata: ObjectMeta = resource.metadata
        now = datetime.now(UTC).replace(microsecond=0)
        return Event(
            metadata=ObjectMeta(name=f"{metadata.name}.{uuid4().hex[:16]}", namespace=metadata.namespace),
            involvedObject=ObjectReference(
                apiVersion=resource.apiVersion,
                kind=resource.kind,
                name=metadata.name,
                namespace=metadata.namespace,
                uid=metadata.uid,
                resourceVersion=metadata.resourceVersion,
            ),
            type="Normal" if condition.status == "True" else "Warning",
            reason=condition.reason,
            message=condition.message[:MAX_MESSAGE_LENGTH],
            action=condition.type,
            source=EventSource(component=COMPONENT, host=self._pod),
            reportingComponent=COMPONENT,
            reportingInstance=self._pod,
            firstTimestamp=now,
            lastTimestamp=now,
            count=1,
        )
