"""The demonstration: two labs, two meshes, one federated request; driven with kubectl, as an administrator would.

Imports nothing of the other rooms: it starts ``isthmus lab`` and ``kubectl`` as processes.
"""
