"""The log of a process: one line an event on standard error, JSON unless a person is watching."""

import sys

import structlog


def configure(level: str = "info") -> None:
    """Set up the log of this process. level: ``debug``, ``info``, ``warning`` or ``error``; ValueError for another."""
    levels = {"debug": 10, "info": 20, "warning": 30, "error": 40}
    if level not in levels:
        raise ValueError(f"unknown log level {level!r}: expected one of {', '.join(levels)}")
    render = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *(() if sys.stderr.isatty() else (structlog.processors.format_exc_info,)),
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(levels[level]),
        # Standard error is looked up for each line: a test runner may have put another one in its place.
        logger_factory=lambda *_: structlog.WriteLogger(sys.stderr),
    )
