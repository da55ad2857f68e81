"""Structural OpenAPI v3 schemas: prune what they don't know, set their defaults, check the rest.

Pure. Belongs here: the walk over an object by a schema, and where schemas come from (a CustomResourceDefinition's
version; the typed models of the built-in kinds), and validation rules in CEL (``rules``, ``expressions``). Must not:
know storage or HTTP.
"""

from isthmus.lab.apiserver.schema.builtin import builtin_schema
from isthmus.lab.apiserver.schema.prune import set_defaults, unknown_fields
from isthmus.lab.apiserver.schema.validate import validate

__all__ = ["builtin_schema", "set_defaults", "unknown_fields", "validate"]
