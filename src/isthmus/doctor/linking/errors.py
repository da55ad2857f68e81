"""What keeps meshes from being linked, by what the administrator can do.

LinkError             something asked for or found is wrong: nothing was written
NotDone               written, but not everything came up in time
"""

from collections.abc import Sequence


class LinkError(Exception):
    """The meshes cannot be linked as asked. ``problems``: each with what is wrong, and what to do."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class NotDone(Exception):  # noqa: N818 -- named after what happened
    """Not everything is as it should be within the time given. ``waiting``: what is not, and why, each in words."""

    def __init__(self, what: str, waiting: Sequence[str]) -> None:
        super().__init__(f"{what}: {'; '.join(waiting)}")
        self.waiting = tuple(waiting)
