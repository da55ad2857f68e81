"""Has control planes check their links, and waits for what they found.

The question is an annotation of the ServiceMeshPeer, the answer is in its status: whoever may write the resource may
check, and needs no other way into the cluster. Writes nothing but that annotation.
Source: docs/adr/0014-checks-are-asked-for-in-the-resource.md.
"""

import asyncio
import secrets
from collections.abc import Sequence
from typing import Final

from lightkube.types import PatchType

from isthmus.api import ServiceMeshPeer
from isthmus.api.check import Check, CheckStep
from isthmus.doctor.checking.checked import Checked
from isthmus.doctor.checking.silence import Silence
from isthmus.federation.checks import steps_from_status, steps_of_silence
from isthmus.federation.names import CHECK_ANNOTATION
from isthmus.kube import Client, ObjectKey, key_of
from isthmus.kube.errors import Denied, KubeError, translated

LOOK_S: Final = 0.1
SILENT_AFTER_S: Final = 1.5
"""So long nobody asks why there is no answer yet: a check of a healthy link is over by then."""
GIVE_UP_AFTER_S: Final = 20.0
"""Longer than a check lasts whose every step takes all the time that it may."""


class NoPeerError(Exception):
    """There is nothing to check under the name that was given, or at all; the message says where was looked."""


async def find_peers(client: Client, peer: str | None, *, namespace: str | None) -> list[ServiceMeshPeer]:
    """The peers of that name, without a name all, of one namespace or of all that may be listed.

    Raises NoPeerError: there is none; KubeError: they cannot be listed.
    """
    where = namespace or "*"
    try:
        found = await _list(client, where)
    except Denied:
        if namespace is not None:
            raise
        where = client.namespace
        found = await _list(client, where)
    chosen = [each for each in found if peer is None or each.metadata.name == peer]
    if not chosen:
        place = "any namespace" if where == "*" else f"namespace {where}"
        raise NoPeerError(f"there is no ServiceMeshPeer {peer or ''}".rstrip() + f" in {place}")
    return sorted(chosen, key=key_of)


async def check_peers(client: Client, peers: Sequence[ServiceMeshPeer]) -> list[Checked]:
    """Have all of these links checked at once; raises KubeError: the cluster does not answer."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(_tried(client, peer), name=f"check {key_of(peer)}") for peer in peers]
    found = [task.result() for task in running]
    for each in found:
        if isinstance(each, KubeError):
            raise each
    return [each for each in found if isinstance(each, Checked)]


async def _tried(client: Client, peer: ServiceMeshPeer) -> Checked | KubeError:
    try:
        return await check(client, peer)
    except KubeError as error:
        return error


async def check(client: Client, peer: ServiceMeshPeer) -> Checked:
    """Have one link checked; without the right to ask for it, what the status tells. Raises KubeError."""
    key, nonce = key_of(peer), secrets.token_hex(8)
    try:
        await _ask(client, key, nonce)
    except Denied:
        steps = _from_status(peer, f"you may not patch ServiceMeshPeer {key}, so nothing was tried")
        return Checked(namespace=key.namespace, peer=key.name, steps=steps)
    found = await _answer(client, key, nonce)
    answer = found if isinstance(found, Check) else None
    steps = found.steps if isinstance(found, Check) else found
    return Checked(namespace=key.namespace, peer=key.name, steps=steps, check=answer)


async def _list(client: Client, namespace: str) -> list[ServiceMeshPeer]:
    with translated(f"list ServiceMeshPeers in {'all namespaces' if namespace == '*' else namespace}"):
        return [each async for each in client.api.list(ServiceMeshPeer, namespace=namespace)]


async def _ask(client: Client, key: ObjectKey, nonce: str) -> None:
    patch = {"metadata": {"annotations": {CHECK_ANNOTATION: nonce}}}
    with translated(f"annotate ServiceMeshPeer {key}"):
        await client.api.patch(ServiceMeshPeer, key.name, patch, namespace=key.namespace, patch_type=PatchType.MERGE)


async def _answer(client: Client, key: ObjectKey, nonce: str) -> Check | tuple[CheckStep, ...]:
    """The check with this nonce, or the steps that tell why there is none."""
    loop = asyncio.get_running_loop()
    asked_at, silence = loop.time(), Silence(client, key.namespace)
    while (waited_s := loop.time() - asked_at) < GIVE_UP_AFTER_S:
        found = await _read(client, key)
        if found is not None and found.nonce == nonce:
            return found
        if waited_s > SILENT_AFTER_S and (why := await silence.reason()) is not None:
            return steps_of_silence(*why)
        await asyncio.sleep(LOOK_S)
    return steps_of_silence(*silence.at_last(GIVE_UP_AFTER_S))


async def _read(client: Client, key: ObjectKey) -> Check | None:
    """The last check that the status has, if there is one."""
    with translated(f"read ServiceMeshPeer {key}"):
        peer = await client.api.get(ServiceMeshPeer, key.name, namespace=key.namespace)
    return peer.status.check if peer.status is not None else None


def _from_status(peer: ServiceMeshPeer, why: str) -> tuple[CheckStep, ...]:
    conditions = peer.status.conditions if peer.status is not None else ()
    return steps_from_status({each.type: each for each in conditions}, why)
