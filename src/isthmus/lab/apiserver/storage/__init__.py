"""Revisions on SQLite, the current state in memory, and the events between them.

Belongs here: the database file, its one writer thread, the current state, the window of recent events, watchers.
Objects are bytes under a key. Must not: know a kind, HTTP, or who asks. ``rest`` and ``admission`` are its users.

The resource version of Kubernetes is the global revision: every write takes the next one.
"""

from isthmus.lab.apiserver.storage.state import Event, Watcher, Window
from isthmus.lab.apiserver.storage.store import Store
from isthmus.lab.apiserver.storage.writer import Write

__all__ = ["Event", "Store", "Watcher", "Window", "Write"]
