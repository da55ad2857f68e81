"""How a node says that it is there: its Node object and a Lease that it renews (documentation, "Nodes", heartbeats)."""

import asyncio
import platform
from datetime import UTC, datetime

import httpx2
import structlog
from lightkube import ApiError, AsyncClient
from lightkube.models.coordination_v1 import LeaseSpec
from lightkube.models.core_v1 import (
    DaemonEndpoint,
    NodeAddress,
    NodeCondition,
    NodeDaemonEndpoints,
    NodeStatus,
    NodeSystemInfo,
)
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.coordination_v1 import Lease
from lightkube.resources.core_v1 import Node
from lightkube.types import PatchType

from isthmus.lab.client import absent, conflict
from isthmus.lab.node.resources import capacity

log = structlog.get_logger()

LEASE_NAMESPACE = "kube-node-lease"
LEASE_S, RENEW_S, LEAVE_S = 40, 10.0, 1.0


class Heartbeat:
    """Keeps the Node object Ready and its Lease fresh."""

    def __init__(self, client: AsyncClient, *, name: str, address: str, port: int | None = None) -> None:
        """``port`` is where the node serves its logs, None if it does not."""
        self._client = client
        self._name = name
        self._address = address
        self._port = port
        self.registered = asyncio.Event()

    async def run(self) -> None:
        """Register, then renew until cancelled. Errors are logged and tried again at the next beat."""
        while True:
            pause_s = RENEW_S
            try:
                await self._register()
                self.registered.set()
                await self._renew()
            except (httpx2.HTTPError, OSError) as error:
                log.info("heartbeat failed", node=self._name, error=str(error))
                pause_s = 0.2
            await asyncio.sleep(pause_s)

    async def leave(self) -> None:
        """Say that the node is going, so that it gets no more pods; a server that does not answer is not waited for."""
        status = node_status(self._name, self._address, now=_now(), ready=False)
        patch = {"status": {"conditions": status.to_dict()["conditions"]}}
        try:
            async with asyncio.timeout(LEAVE_S):
                await self._client.patch(Node.Status, self._name, patch, patch_type=PatchType.MERGE)
        except (httpx2.HTTPError, OSError) as error:
            log.info("node has left without saying so", node=self._name, error=str(error))

    async def _register(self) -> None:
        status = node_status(self._name, self._address, now=_now())
        if self._port is not None:
            status.daemonEndpoints = NodeDaemonEndpoints(kubeletEndpoint=DaemonEndpoint(Port=self._port))
        try:
            known = await self._client.get(Node, self._name)
        except ApiError as error:
            if not absent(error):
                raise
            labels = {"kubernetes.io/hostname": self._name, "kubernetes.io/os": "linux", "kubernetes.io/arch": arch()}
            known = await self._client.create(Node(metadata=ObjectMeta(name=self._name, labels=labels)))
        if known.status is None or not _is_ready(known.status):
            patch = {"status": status.to_dict()}
            await self._client.patch(Node.Status, self._name, patch, patch_type=PatchType.MERGE)

    async def _renew(self) -> None:
        now = datetime.now(UTC)
        spec = LeaseSpec(holderIdentity=self._name, leaseDurationSeconds=LEASE_S, renewTime=now)
        try:
            await self._client.patch(
                Lease, self._name, {"spec": spec.to_dict()}, namespace=LEASE_NAMESPACE, patch_type=PatchType.MERGE
            )
        except ApiError as error:
            if not absent(error):
                raise
            try:
                await self._client.create(
                    Lease(metadata=ObjectMeta(name=self._name, namespace=LEASE_NAMESPACE), spec=spec)
                )
            except ApiError as refusal:
                if not (conflict(refusal) or absent(refusal)):  # the namespace may come a moment later
                    raise


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _is_ready(status: NodeStatus) -> bool:
    return any(c.type == "Ready" and c.status == "True" for c in status.conditions or [])


def arch() -> str:
    """The machine's architecture by Kubernetes' name."""
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def node_status(name: str, address: str, *, now: datetime, ready: bool = True) -> NodeStatus:
    """The status of a node that is ready, or is going."""
    release = platform.release()
    return NodeStatus(
        addresses=[NodeAddress(type="InternalIP", address=address), NodeAddress(type="Hostname", address=name)],
        capacity=capacity(),
        allocatable=capacity(),
        conditions=[
            NodeCondition(
                type="Ready",
                status="True" if ready else "False",
                reason="NodeReady" if ready else "NodeShutdown",
                message="the node runs pods as processes" if ready else "the node is shutting down",
                lastHeartbeatTime=now,
                lastTransitionTime=now,
            )
        ],
        nodeInfo=NodeSystemInfo(
            architecture=arch(),
            bootID="",
            containerRuntimeVersion="process://1",
            kernelVersion=release,
            kubeProxyVersion="",
            kubeletVersion="v1.33.0",
            machineID="",
            operatingSystem="linux",
            osImage="host",
            systemUUID="",
        ),
    )
