"""Why a control plane does not answer, as far as the Kubernetes API tells: its pods, and the Lease of who leads.

Whether the leader lives is told by whether its lease is renewed while one looks, not by comparing clocks (``kube``).
"""

import asyncio
from typing import Final

from lightkube.models.coordination_v1 import LeaseSpec
from lightkube.resources.coordination_v1 import Lease
from lightkube.resources.core_v1 import Pod

from isthmus.kube import Client
from isthmus.kube.errors import Denied, NotFound, translated

LEASE: Final = "servicemesh-federation"
PILOT_LABELS: Final = {"app": "istiod"}
LOOK_S: Final = 1.0
UNRENEWED_S: Final = 5.0
"""A leader renews its lease every two seconds."""

Reason = tuple[str, str]
"""A cause, and what was seen."""


class Silence:
    """Looks into it as long as there is no answer, once a second."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self._looked_at = float("-inf")
        self._version = ""
        self._since = 0.0
        self._holder = ""

    async def reason(self) -> Reason | None:
        """Why there will be no answer; None while there may be one. Raises KubeError."""
        now = asyncio.get_running_loop().time()
        if now - self._looked_at < LOOK_S:
            return None
        self._looked_at = now
        return await self._pods() or await self._lease(now)

    def at_last(self, waited_s: float) -> Reason:
        """What is told if all seemed well and still no answer came."""
        leader = f", {self._holder} leads" if self._holder else ""
        return "ControlPlaneSilent", f"No answer within {waited_s:g} s{leader}"

    async def _pods(self) -> Reason | None:
        try:
            with translated(f"list Pods in {self._namespace}"):
                listed = self._client.api.list(Pod, namespace=self._namespace, labels=dict(PILOT_LABELS))
                pods = [pod async for pod in listed]
        except Denied:
            return None
        if any(_is_ready(pod) for pod in pods):
            return None
        told = ", ".join(f"{_name(pod)} ({_state(pod)})" for pod in pods) or "there is none"
        return "ControlPlaneDown", f"No control-plane pod in {self._namespace} is ready: {told}"

    async def _lease(self, now: float) -> Reason | None:
        try:
            with translated(f"read Lease {self._namespace}/{LEASE}"):
                lease = await self._client.api.get(Lease, LEASE, namespace=self._namespace)
        except NotFound:
            return "ControlPlaneSilent", f"No control-plane pod in {self._namespace} has ever led: no Lease {LEASE}"
        except Denied:
            return None
        version = (lease.metadata.resourceVersion or "") if lease.metadata else ""
        self._holder = (lease.spec or LeaseSpec()).holderIdentity or ""
        if version != self._version:
            self._version, self._since = version, now
        if now - self._since < UNRENEWED_S:
            return None
        seen = f"{self._holder or 'nobody'} leads, and has not renewed Lease {LEASE} for {now - self._since:.0f} s"
        return "KubernetesUnreachable", f"{seen}: it cannot reach its Kubernetes API, or stands still"


def _name(pod: Pod) -> str:
    return (pod.metadata.name or "") if pod.metadata else ""


def _is_ready(pod: Pod) -> bool:
    conditions = (pod.status.conditions if pod.status else None) or []
    return any(each.type == "Ready" and each.status == "True" for each in conditions)


def _state(pod: Pod) -> str:
    """``Running``, ``Pending``, or why its container waits."""
    statuses = (pod.status.containerStatuses if pod.status else None) or []
    waiting = [each.state.waiting.reason for each in statuses if each.state and each.state.waiting]
    phase = (pod.status.phase if pod.status else None) or "unknown"
    return next((reason for reason in waiting if reason), phase)
