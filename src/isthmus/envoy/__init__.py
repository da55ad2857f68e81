"""The federation plan as Envoy resources: one module per kind of resource.

Belongs here: pure functions from ``federation.plan`` values to xDS protobufs. The same plan gives the same bytes.
Must not: decide who may do what (the plan says so), do I/O.
"""
