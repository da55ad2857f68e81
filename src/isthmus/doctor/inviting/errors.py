"""What can go wrong in inviting and joining, by what is left behind.

Refused        nothing is left of it in either cluster
Unfinished     some of it is there; the message says what, and how to go on
"""


class Refused(Exception):  # noqa: N818 -- named after what happened
    """It cannot be done as asked."""


class Unfinished(Exception):  # noqa: N818 -- likewise
    """It was begun, and is not done."""
