"""How the lab's own parts speak to an API server: keys, informers, reconcile loops, events.

Belongs here: list and watch with resume, 410 and back-off; a coalescing queue of keys; the recorder of Events. Only the
Kubernetes wire protocol is used, so that node and controllers can be pointed at any API server.
Must not: know what a kind means.
"""

from isthmus.lab.client.events import EventRecorder
from isthmus.lab.client.index import Index
from isthmus.lab.client.informer import Informer, Informers
from isthmus.lab.client.objects import ObjectKey, absent, conflict, controller_of, key_of, labels_match, metadata_of
from isthmus.lab.client.reconcile import ReconcileLoop

__all__ = [
    "EventRecorder",
    "Index",
    "Informer",
    "Informers",
    "ObjectKey",
    "ReconcileLoop",
    "absent",
    "conflict",
    "controller_of",
    "key_of",
    "labels_match",
    "metadata_of",
]
