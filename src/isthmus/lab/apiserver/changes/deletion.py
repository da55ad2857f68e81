"""What a delete makes of an object: gone at once, or marked and kept. Pure.

Source: Kubernetes documentation, "Finalizers", "Garbage Collection", "Pod Lifecycle: Termination
of Pods", "Namespaces".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from isthmus.lab.apiserver.changes.metadata import rfc3339
from isthmus.lab.apiserver.changes.options import DeleteOptions
from isthmus.lab.apiserver.kinds import Resource
from isthmus.lab.apiserver.objects import Object, metadata

DEFAULT_GRACE_S = 30
_WORDS = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}
"""The finalizer by which a propagation policy reaches the garbage collector; Background needs none."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The object afterwards, whether it is gone, and whether there is nothing to write."""

    obj: Object
    removed: bool
    unchanged: bool = False


def deletion(obj: Object, resource: Resource, options: DeleteOptions, *, now: datetime) -> Verdict:
    """Decide on a delete of ``obj``, which is changed in place."""
    meta = metadata(obj)
    grace = _grace_s(obj, resource, options)
    propagates = _propagate(meta, options.propagation)
    kept = bool(meta.get("finalizers")) or _is_kept_namespace(obj, resource)
    if not kept and grace == 0:
        return Verdict(obj, removed=True)
    if "deletionTimestamp" in meta and grace >= int(meta.get("deletionGracePeriodSeconds") or 0):
        return Verdict(obj, removed=False, unchanged=not propagates)
    _mark(obj, meta, resource, grace=grace, now=now)
    return Verdict(obj, removed=False)


def _propagate(meta: dict[str, Any], policy: str) -> bool:
    """Leave the word for the garbage collector that ``policy`` asks for, as a finalizer; whether it changed anything.

    Without a policy the words that are there stay.
    """
    if not policy:
        return False
    before = meta.get("finalizers") or []
    wanted = _WORDS.get(policy)
    after = [one for one in before if one == wanted or one not in _WORDS.values()]
    if wanted and wanted not in after:
        after.append(wanted)
    if after == before:
        return False
    meta["finalizers"] = after
    if not after:
        del meta["finalizers"]
    return True


def _mark(obj: Object, meta: dict[str, Any], resource: Resource, *, grace: int, now: datetime) -> None:
    meta["deletionTimestamp"] = rfc3339(now + timedelta(seconds=grace))
    meta["deletionGracePeriodSeconds"] = grace
    if resource.storage == "namespaces":
        obj["status"] = {**(obj.get("status") or {}), "phase": "Terminating"}
        meta.pop("deletionGracePeriodSeconds")
    if "generation" in meta:
        meta["generation"] += 1


def _grace_s(obj: Object, resource: Resource, options: DeleteOptions) -> int:
    """Only a pod that runs on a node has a grace: its node ends it, then deletes it with none."""
    if resource.storage != "pods":
        return 0
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    if not spec.get("nodeName") or status.get("phase") in ("Succeeded", "Failed"):
        return 0
    own = spec.get("terminationGracePeriodSeconds", DEFAULT_GRACE_S)
    return int(own if options.grace_s is None else options.grace_s)


def _is_kept_namespace(obj: Object, resource: Resource) -> bool:
    return resource.storage == "namespaces" and bool((obj.get("spec") or {}).get("finalizers"))
