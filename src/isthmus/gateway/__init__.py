"""The agent of one gateway pod: gets and renews the pod's certificate, starts and supervises Envoy.

Belongs here: the bootstrap of Envoy, its secrets, its process, the answer to readiness probes, and where the pilot's
orders to try the way to a peer come in (``probe`` carries them out). Must not: decide what a gateway lets pass (the
pilot tells Envoy), talk to the Kubernetes API. Private keys are made here and never leave the pod.
"""

from isthmus.gateway.agent import Agent
from isthmus.gateway.settings import DnsServer, GatewaySettings, Role

__all__ = ["Agent", "DnsServer", "GatewaySettings", "Role"]
