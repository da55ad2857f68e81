"""The HTTP between meshes, both ends: the server that a peer watches and the client that watches a peer.

Belongs here: requests, responses, streams, time-outs. Messages, checksums and the catalogue are ``federation``'s.
"""
