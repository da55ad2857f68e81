"""The patch types: JSON patch, merge patch, strategic merge patch. Pure.

Belongs here: functions from (object, patch) to object. Server-side apply changes ownership as well and lives in
``changes``.
"""

from isthmus.lab.apiserver.patch.jsonpatch import apply_json_patch
from isthmus.lab.apiserver.patch.merge import apply_merge_patch
from isthmus.lab.apiserver.patch.strategic import apply_strategic_patch

__all__ = ["apply_json_patch", "apply_merge_patch", "apply_strategic_patch"]
