"""The Kubernetes API as this project uses it: client, reflector, store, work queue, lease.

Belongs here: list and watch with resume, 410 and back-off; typed stores; coalescing queues. Must not: know what the
resources mean.
"""

from isthmus.kube.apply import Apply, Delete, Write, carry_out, identity_of, plan
from isthmus.kube.client import Client, connect
from isthmus.kube.lease import Candidacy, Candidate, LeaseLost
from isthmus.kube.queue import WorkQueue
from isthmus.kube.reflector import Reflector, Selection
from isthmus.kube.store import Change, Index, KubeObject, ObjectKey, Store, key_of, metadata_of

__all__ = [
    "Apply",
    "Candidacy",
    "Candidate",
    "Change",
    "Client",
    "Delete",
    "Index",
    "KubeObject",
    "LeaseLost",
    "ObjectKey",
    "Reflector",
    "Selection",
    "Store",
    "WorkQueue",
    "Write",
    "carry_out",
    "connect",
    "identity_of",
    "key_of",
    "metadata_of",
    "plan",
]
