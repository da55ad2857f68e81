"""The logs that concern one peer, of all components on both sides, as one.

Belongs here: which logs these are, which of their lines, in which order and how shown (pure); reading and following
them. Must not: judge what the lines say.
"""

from isthmus.doctor.peer_logs.entries import Entry
from isthmus.doctor.peer_logs.following import Wish, follow, read_all
from isthmus.doctor.peer_logs.reading import Clusters, connect_all
from isthmus.doctor.peer_logs.sources import LogsError, Source, sources
from isthmus.doctor.peer_logs.text import as_json, as_text, duration

__all__ = [
    "Clusters",
    "Entry",
    "LogsError",
    "Source",
    "Wish",
    "as_json",
    "as_text",
    "connect_all",
    "duration",
    "follow",
    "read_all",
    "sources",
]
