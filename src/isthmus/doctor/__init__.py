"""What an administrator asks of meshes from outside: link them, check them, read what they say.

Belongs here: the commands that speak to the Kubernetes APIs of one or several clusters with the administrator's own
rights. What they decide is in pure modules; reading and writing is at the edge. Must not: be part of a running mesh.
Only the command line imports it.
"""
