"""The kinds that are served, as a table: group, version, names, scope, subresources, columns, schema.

Belongs here: the built-in kinds, the kinds that CustomResourceDefinitions add, and the registry that answers "what is
at this path". Must not: read or write objects. Everything in ``rest`` asks here.
"""

from isthmus.lab.apiserver.kinds.registry import Registry
from isthmus.lab.apiserver.kinds.resource import Column, Resource

__all__ = ["Column", "Registry", "Resource"]
