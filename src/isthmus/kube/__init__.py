"""The Kubernetes API as this project uses it: client, reflector, store, work queue, lease.

Belongs here: list and watch with resume, 410 and back-off; typed stores; coalescing queues. Must not: know what the
resources mean.
"""
