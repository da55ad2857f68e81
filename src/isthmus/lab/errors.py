"""What goes wrong with a cluster, or a node, in a way that its user can set right; the message says how."""


class ClusterError(Exception):
    """Something about a cluster that its user can set right; the message says what."""


class ClusterRunningError(ClusterError):
    """The cluster runs already, in another process."""
