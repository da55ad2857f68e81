"""How often Python looks for objects that refer to each other in circles, in processes that hold a whole cluster.

By default it looks after each 700 new objects, and now and then at all there are. A page of a list is ten thousand new
objects and no circle: four fifths of the time to read it went into looking.
"""

import gc

NEW_OBJECTS = 50_000
"""New objects between two looks: some MB, if all of them were garbage."""
ROUNDS = 20
"""Looks at what is new between two at what is older, and of these between two at everything."""


def collect_rarely() -> None:
    """For the rest of the process; call it at the start."""
    gc.set_threshold(NEW_OBJECTS, ROUNDS, ROUNDS)


def set_aside() -> None:
    """Look no more at what is there now, which is there to stay: a look at all of it stops the process for as long as
    it takes."""
    gc.freeze()
