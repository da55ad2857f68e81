"""Meshes linked with each other: what a full federation of them needs, and the way there and back.

Belongs here: the plan (pure: what there is in, what there should be out), how it is shown, how it is carried out or
written to files. Objects are JSON here, as the API server gives them: what a newer version knows must not get lost.
"""

from isthmus.doctor.linking.errors import LinkError, NotDone
from isthmus.doctor.linking.files import Written, write_files
from isthmus.doctor.linking.linking import Linker, connect_to
from isthmus.doctor.linking.options import Options, parse_addresses
from isthmus.doctor.linking.plan import Plan, Step, Verb
from isthmus.doctor.linking.reading import meshes_asked
from isthmus.doctor.linking.text import plan_text, summary

__all__ = [
    "LinkError",
    "Linker",
    "NotDone",
    "Options",
    "Plan",
    "Step",
    "Verb",
    "Written",
    "connect_to",
    "meshes_asked",
    "parse_addresses",
    "plan_text",
    "summary",
    "write_files",
]
