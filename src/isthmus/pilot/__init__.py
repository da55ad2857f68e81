"""The control plane of one mesh, ``istiod-<mesh>``: ingest, plan, serve.

Belongs here: the wiring of informers and peers' watches into one plan, and of the plan into xDS, discovery, status and
the objects that workloads use; the mesh CA. What is decided is decided in ``federation``.
"""
