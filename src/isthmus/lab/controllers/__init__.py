"""The controllers that make the served kinds live, each a client of the API server like any other.

Belongs here: Deployments, ReplicaSets, EndpointSlices, load balancers, namespaces, garbage collection, scheduling;
what is decided is a pure function (``rollout``, ``endpoints``, ``deployment_status``), the controller reads and writes.
Must not: run anything (the node does), listen anywhere (the proxy does).
"""

from isthmus.lab.controllers.deployment import DeploymentController
from isthmus.lab.controllers.endpointslice import EndpointSliceController
from isthmus.lab.controllers.garbage import GarbageCollector
from isthmus.lab.controllers.loadbalancer import LoadBalancerController
from isthmus.lab.controllers.namespaces import NamespaceController, NamespaceSettings
from isthmus.lab.controllers.replicaset import ReplicaSetController
from isthmus.lab.controllers.scheduler import Scheduler

__all__ = [
    "DeploymentController",
    "EndpointSliceController",
    "GarbageCollector",
    "LoadBalancerController",
    "NamespaceController",
    "NamespaceSettings",
    "ReplicaSetController",
    "Scheduler",
]
