"""A ServiceMeshControlPlane becomes Deployments, Services, ServiceAccounts and RBAC.

Belongs here: the pure function from the resource to the objects it calls for, and the controller that applies them.
"""
