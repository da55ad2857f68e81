"""The demonstration: labs with a mesh each, federated; driven with kubectl, as their administrators would.

Imports nothing of the other rooms: it starts ``isthmus lab`` and ``kubectl`` as processes, and what it reports is what
these print. Only the command line imports it.
"""

from isthmus.demo.commands import CommandError
from isthmus.demo.demonstration import Demonstration, Settings
from isthmus.demo.report import Report, summary
from isthmus.demo.site import UnknownMeshesError

__all__ = ["CommandError", "Demonstration", "Report", "Settings", "UnknownMeshesError", "summary"]
