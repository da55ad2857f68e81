"""Events have two APIs over one store: core/v1 and events.k8s.io/v1. Pure.

Source: Kubernetes API reference, Event v1 and Event v1 events.k8s.io.
"""

from __future__ import annotations

from isthmus.lab.apiserver.kinds.resource import View
from isthmus.lab.apiserver.objects import Object

_NAMES = (
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
)
_TO_EVENTS = dict(_NAMES)
_TO_CORE = {new: old for old, new in _NAMES}


def to_events(obj: Object) -> Object:
    """A stored (core) Event as events.k8s.io shows it."""
    return {**{_TO_EVENTS.get(name, name): value for name, value in obj.items()}, "apiVersion": "events.k8s.io/v1"}


def to_core(obj: Object) -> Object:
    """An events.k8s.io Event as it is stored."""
    return {**{_TO_CORE.get(name, name): value for name, value in obj.items()}, "apiVersion": "v1"}


_REGARDING = {f"regarding.{name}": f"involvedObject.{name}" for name in ("kind", "namespace", "name", "uid")}
VIEW = View(of="events", show=to_events, store=to_core, paths=_REGARDING)
