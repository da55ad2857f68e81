"""How objects come, change and go: the rules that hold for every kind, between a request and the store.

Belongs here: metadata that the server owns, optimistic concurrency, status and spec kept apart, finalizers, deletion
with grace, who manages which field. Must not: know HTTP. What single kinds need besides is ``admission``'s.
"""

from isthmus.lab.apiserver.changes.changes import Changes, Outcome
from isthmus.lab.apiserver.changes.options import DeleteOptions, WriteOptions

__all__ = ["Changes", "DeleteOptions", "Outcome", "WriteOptions"]
