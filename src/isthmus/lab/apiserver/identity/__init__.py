"""Who asks, and what they may do: the cluster's CA, tokens, users, roles.

Belongs here: certificates and tokens made and checked, a request's user, RBAC as a pure function. Must not: know what
is asked for beyond verb and resource.
"""
