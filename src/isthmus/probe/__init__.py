"""The probe: tries the way to a peer from a gateway pod, and tells what it met at each step.

Both ends of it: the server, in a gateway's agent, and the client, with which the control plane gives orders. Belongs
here: name resolution, sockets, TLS by hand, and the judgement of one attempt. Must not: know what an administrator is
to do about it (``federation.causes``), nor choose where to connect: a probe goes where its order says.
Only ``gateway`` and ``pilot`` import it.
"""

from isthmus.probe.client import GatewayAgent, ProbeClient
from isthmus.probe.errors import AgentError, BadOrderError, ProbeError
from isthmus.probe.orders import MAX_ADDRESSES, ProbeOrder, RequestOrder
from isthmus.probe.prober import OwnPod, Prober
from isthmus.probe.resolver import Resolver
from isthmus.probe.server import AGENT_PORT, serve_agent

__all__ = [
    "AGENT_PORT",
    "MAX_ADDRESSES",
    "AgentError",
    "BadOrderError",
    "GatewayAgent",
    "OwnPod",
    "ProbeClient",
    "ProbeError",
    "ProbeOrder",
    "Prober",
    "RequestOrder",
    "Resolver",
    "serve_agent",
]
