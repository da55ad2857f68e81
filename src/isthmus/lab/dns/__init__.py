"""The names of a cluster: Services, headless endpoints, load balancers, stub zones, and the other labs of this machine.

Belongs here: which records there are (``records``, pure), what is answered (``answer``, pure), and the sockets.
There is no way out: a name that nobody here is responsible for does not exist.
"""

from isthmus.lab.dns.server import DnsServer, DnsSettings

__all__ = ["DnsServer", "DnsSettings"]
