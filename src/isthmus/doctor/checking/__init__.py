"""Links checked: the control plane is asked, its answer waited for, and shown.

Belongs here: the question and the answer as they travel in a resource, why there is no answer, and how a check is shown
(pure). What a check finds out is the control plane's, what it means is ``federation.checks``'.
"""

from isthmus.doctor.checking.asking import NoPeerError, check_peers, find_peers
from isthmus.doctor.checking.checked import Checked
from isthmus.doctor.checking.report import as_json, as_junit, as_text, exit_code

__all__ = ["Checked", "NoPeerError", "as_json", "as_junit", "as_text", "check_peers", "exit_code", "find_peers"]
