"""A kubelet that runs each pod as processes with an IP address of their own, and the L4 proxy for Services."""
