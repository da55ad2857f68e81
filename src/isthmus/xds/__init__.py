"""The incremental xDS protocol: subscriptions, versions, nonces, ACK and NACK.

Belongs here: the protocol as a state machine to be driven by hand, and the gRPC service around it. Resources are opaque
bytes with a name and a version. Must not: know what a cluster or a peer is.
"""
