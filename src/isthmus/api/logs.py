"""The parts of a ServiceMeshControlPlane that say what its processes log: levels, and the access log of gateways.

The same types travel from the operator to the processes, in a ConfigMap of the mesh (:class:`LogSettings`): these are
the settings that take effect without a restart.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from isthmus.api.meta import Part

LogLevel = Literal["trace", "debug", "info", "warning", "error", "critical", "off"]
Levels = Annotated[
    dict[str, LogLevel], Meta(description="Levels by component; default is that of all that are not named.")
]

SETTINGS_KEY = "logs.json"
"""The key of the ConfigMap, which has the name of the control plane's Deployment."""


class Logging(Part, frozen=True, kw_only=True):
    """What the control plane and the agents of gateways log."""

    component_levels: Levels = msgspec.field(default_factory=dict)


class General(Part, frozen=True, kw_only=True):
    """Settings of all processes of the mesh."""

    logging: Logging = Logging()


class ProxyLogging(Part, frozen=True, kw_only=True):
    """What Envoy logs of itself."""

    level: Annotated[LogLevel | None, Meta(description="The level of all components; warning if it is left out.")] = (
        None
    )
    component_levels: Annotated[
        dict[str, LogLevel], Meta(description="Levels by component of Envoy, such as upstream or connection.")
    ] = msgspec.field(default_factory=dict)


class AccessLogFile(Part, frozen=True, kw_only=True):
    """Where a gateway writes a line for each connection and request, and how."""

    name: Annotated[
        Literal["", "/dev/stdout", "/dev/stderr", "/dev/null"],
        Meta(description="/dev/stdout if it is left out or empty; /dev/null for no access log."),
    ] = ""
    encoding: Annotated[
        Literal["", "JSON", "TEXT"], Meta(description="JSON if it is left out and no format is given.")
    ] = ""
    format: Annotated[
        str,
        Meta(description="The format of a line of TEXT, by Envoy's operators; docs/observability.md.", max_length=4096),
    ] = ""

    @property
    def is_text(self) -> bool:
        """Whether lines are made by ``format``, or by the default format of text; else they are JSON."""
        return self.encoding == "TEXT" or (self.encoding == "" and self.format != "")


class AccessLogging(Part, frozen=True, kw_only=True):
    """The access log of gateways."""

    file: AccessLogFile = AccessLogFile()


class Proxy(Part, frozen=True, kw_only=True):
    """Settings of all gateways."""

    logging: ProxyLogging = ProxyLogging()
    access_logging: AccessLogging = AccessLogging()


class LogSettings(Part, frozen=True, kw_only=True):
    """What the ConfigMap holds: these two parts of the resource's spec."""

    general: General = General()
    proxy: Proxy = Proxy()
