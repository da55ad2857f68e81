"""How a command of a process ends that cannot go on: a line for each reason, and exit status 1."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
import typer

from isthmus.groups import leaves

log = structlog.get_logger(__name__)


@contextmanager
def failing(command: str, *, of: tuple[type[Exception], ...]) -> Iterator[None]:
    """End ``isthmus <command>`` where the block fails with such errors, be they in the groups of its tasks or not.

    Where they come from is in the log at level debug. Others pass: they are bugs, and shown with that.
    """
    reasons: list[str] = []
    try:
        yield
    except* of as group:
        log.debug("cannot go on", exc_info=group)
        reasons += dict.fromkeys(str(error) or type(error).__name__ for error in leaves(group))
    for reason in reasons:
        typer.echo(f"isthmus {command}: {reason}", err=True)
    if reasons:  # raised outside of except*, which would wrap it in a group
        raise typer.Exit(1)
