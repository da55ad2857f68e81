"""The Kubernetes REST API on SQLite: storage, discovery, reading, writing, watching, CRDs, identities.

Rooms: ``storage`` (revisions and watchers), ``kinds`` (what is served), ``schema`` (structural schemas), ``patch``,
``identity`` (who asks, RBAC), ``admission`` (single kinds' rules), ``changes`` (how objects come, change and go),
``rest`` (HTTP). Must not: know controllers, nodes or meshes; all of them are ordinary clients.

The composition of the lab makes an ``ApiServer`` and gives it ``PodLogs`` (``lab.pod_logs``).
"""

from isthmus.lab.apiserver.kubeconfig import Kubeconfig
from isthmus.lab.apiserver.server import ApiServer, Settings, Started

__all__ = ["ApiServer", "Kubeconfig", "Settings", "Started"]
