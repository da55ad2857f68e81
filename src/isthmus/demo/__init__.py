"""The demonstration: two labs, two meshes, one federated request; driven with kubectl, as an administrator would.

Imports nothing of the other rooms: it starts ``isthmus lab`` and ``kubectl`` as processes, and what it reports is what
these print. Only the command line imports it.
"""

from isthmus.demo.commands import CommandError
from isthmus.demo.demonstration import Demonstration, Settings
from isthmus.demo.report import Report, summary

__all__ = ["CommandError", "Demonstration", "Report", "Settings", "summary"]
