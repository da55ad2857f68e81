"""What single kinds need besides the rules for all: defaults, allocations, rules that others rely on.

Belongs here: one module per kind, pure functions where possible; the allocator of Service addresses and ports.
Must not: write objects. ``changes`` is the only user.
"""

from isthmus.lab.apiserver.admission.admission import Admission

__all__ = ["Admission"]
