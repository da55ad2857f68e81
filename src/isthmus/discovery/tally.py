"""What has gone over the link to one peer, counted.

Whoever owns the link owns the tally, reads it, and keeps it while clients and feeds of the peer come and go; this room
counts. Numbers only ever grow.
"""

from dataclasses import dataclass


@dataclass(slots=True)
class Tally:
    """Both directions of discovery with one peer, since the process began; lists and events only, no heartbeat."""

    events_received: int = 0
    events_sent: int = 0
    lists_received: int = 0
    """Lists of the peer that were accepted."""
    lists_sent: int = 0
    resyncs: int = 0
    """Lists that were asked for again while the watch stood: what was known was in doubt, or the peer is an old one."""
    bytes_received: int = 0
    bytes_sent: int = 0
    connects: int = 0
    """Watches of the peer that were opened."""
    failures: int = 0
    """Watches of the peer that ended or could not be opened, each attempt counted."""
