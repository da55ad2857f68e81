"""A kubelet that runs each pod as processes with an IP address of their own.

Belongs here: the life of a pod and its containers (``node``, ``pod``, ``containers``, ``container``), their parent
(``warden``), logs, probes, volumes; decided by pure functions in ``environment``, ``mounts``, ``volumes``,
``resources``, ``status``, ``restart``.
Must not: know controllers or the API server's inside; it is a client with a kubeconfig.
"""

from isthmus.lab.node.files import Cluster
from isthmus.lab.node.node import Node, NodeSettings

__all__ = ["Cluster", "Node", "NodeSettings"]
