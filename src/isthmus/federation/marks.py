"""How objects of a link are known again: a label says that we made them, a digest that nobody has changed them since.

Whatever makes them (a command of an administrator, or the control plane for a mesh that was invited) marks them so, and
``isthmus unlink`` takes away what bears both. Source: docs/linking.md, "What it makes".
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

LABEL = "isthmus.io/link"
"""On everything that a link has made; its value is the peer that it is for."""
DIGEST = "isthmus.io/link-digest"
"""Annotation: the digest of what was made. Who changes the object leaves it as it was, and so makes it theirs."""


def digest(content: Mapping[str, Any]) -> str:
    """A digest of JSON content, the same for the same content in whatever order."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]
