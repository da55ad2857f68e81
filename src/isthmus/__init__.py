"""Isthmus: federation of service meshes with the ServiceMeshPeer API.

The rooms, from the pure core to the faces, are listed in docs/architecture.md; each package's docstring is its charter.
"""

__version__ = "0.1.0"
