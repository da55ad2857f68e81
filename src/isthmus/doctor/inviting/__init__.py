"""Meshes linked by administrators who do not see each other's cluster: one invites, the other joins.

Belongs here: what each of them does in their own cluster, and the joiner's talk with the inviter's gateway. What a
token says, and who is welcome, is ``federation``'s; what a link is made of is ``linking``'s.
"""

from isthmus.doctor.inviting.errors import Refused, Unfinished
from isthmus.doctor.inviting.home import Home, at_home
from isthmus.doctor.inviting.inviting import Invited, invite, listed, revoke
from isthmus.doctor.inviting.joining import Joiner
from isthmus.doctor.inviting.lifetime import LONGEST, parse_lifetime

__all__ = [
    "LONGEST",
    "Home",
    "Invited",
    "Joiner",
    "Refused",
    "Unfinished",
    "at_home",
    "invite",
    "listed",
    "parse_lifetime",
    "revoke",
]
