"""The log of a process: one line an event on standard output, JSON unless a person is watching.

Whether a line is written is decided when it is, by the component that writes it: so levels can be set while the process
runs. A component is the room of a logger's module: ``isthmus.kube.reflector`` is ``kube``.
"""

import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, TextIO

import structlog

COMPONENTS: Final = ("ca", "cli", "discovery", "gateway", "kube", "operator", "pilot", "probe", "reports", "xds")
"""The rooms that write logs."""
DEFAULT: Final = "default"
"""The name that stands for all components that are not named."""
LEVELS: Final[Mapping[str, int]] = {
    "trace": 10,
    "debug": 10,
    "info": 20,
    "warning": 30,
    "error": 40,
    "critical": 50,
    "off": 60,
}
"""The levels that a mesh may name; there is nothing below debug, and nothing above error, that would be written."""
_OF_METHODS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "exception": 40, "critical": 50}


class Levels:
    """The least level that is written, by component; may be set at any time."""

    def __init__(self, level: str = "info") -> None:
        """``level`` is that of every component until it is set otherwise. Raises ValueError: there is no such level."""
        if level not in LEVELS:
            raise ValueError(f"unknown log level {level!r}: expected one of {', '.join(LEVELS)}")
        self._level = level
        self._by_component: dict[str, str] = {}

    def set(self, by_component: Mapping[str, str]) -> tuple[str, ...]:
        """Write by these levels from now on; those given at the start count for what is not named.

        Returns the names that are no component, in order: they have no effect.
        """
        self._by_component = dict(by_component)
        return tuple(sorted(by_component.keys() - {DEFAULT, *COMPONENTS}))

    def least(self, component: str) -> int:
        """The number of the least level that the component writes."""
        default = self._by_component.get(DEFAULT, self._level)
        return LEVELS.get(self._by_component.get(component, default), LEVELS["info"])

    def filter(self, logger: "_Writer", method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Processor of structlog: lets nothing pass that is not to be written."""
        if _OF_METHODS.get(method, 20) < self.least(logger.component):
            raise structlog.DropEvent
        return event


class _Writer(structlog.WriteLogger):
    """Writes to standard output, whichever file that is at the moment, for one component."""

    def __init__(self, module: str = "", file: TextIO | None = None) -> None:
        super().__init__(file or sys.stdout)
        self.component = module.removeprefix("isthmus.").partition(".")[0]


# Its usual traceback shows the values of local variables, and so secrets.
_TERMINAL = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)


def configure(level: str = "info") -> Levels:
    """Set up the log of this process; returns what its levels are set by. Raises ValueError: there is no such level."""
    levels = Levels(level)
    is_watched = sys.stdout.isatty()
    structlog.configure(
        processors=[
            levels.filter,
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *(() if is_watched else (structlog.processors.format_exc_info,)),
            _TERMINAL if is_watched else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(10),
        logger_factory=_Writer,
    )
    return levels
