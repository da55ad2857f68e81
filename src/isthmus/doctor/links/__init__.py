"""How links fare, as resources tell it: read from the clusters of some contexts, and shown in a line each.

Belongs here: reading, what a line says, and how it is shown (both pure). Nothing is tried and nothing is written.
"""

from isthmus.doctor.links.lines import LinkLine, Resources, link_lines
from isthmus.doctor.links.reading import Unreadable, read_contexts
from isthmus.doctor.links.report import Layout, as_object, table

__all__ = ["Layout", "LinkLine", "Resources", "Unreadable", "as_object", "link_lines", "read_contexts", "table"]
