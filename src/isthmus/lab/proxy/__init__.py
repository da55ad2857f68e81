"""The addresses of Services: an L4 proxy from (cluster IP, port) to the ready endpoints, for TCP and UDP.

Belongs here: what leads where (``forwarding``, pure), and the sockets. Must not: know pods or processes; it sees
Services and EndpointSlices only, and of nodes the zone.
"""

from isthmus.lab.proxy.proxy import ServiceProxy

__all__ = ["ServiceProxy"]
