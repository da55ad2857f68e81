"""Ingest: the settings of the mesh that take effect without a restart, from the ConfigMap that the operator keeps.

The control plane reads the ConfigMaps of its namespace anyway, so it needs no right to see its own resource. What
cannot be used changes nothing, and is told once.
"""

from collections.abc import Callable

import msgspec
import structlog
from lightkube.resources.core_v1 import ConfigMap

from isthmus.api.logs import SETTINGS_KEY, LogSettings
from isthmus.envoy.access_format import AccessFormat, AccessFormatError
from isthmus.kube import Change

log = structlog.get_logger(__name__)


class MeshSettings:
    """Follows ConfigMap ``istiod-<mesh>``; ``changed`` hears of other settings, and of none that equal the last."""

    def __init__(self, mesh: str, *, changed: Callable[[LogSettings], None]) -> None:
        self._name = f"istiod-{mesh}"
        self._changed = changed
        self._current = LogSettings()

    def config_map_changed(self, change: Change[ConfigMap]) -> None:
        """Subscriber of the store of ConfigMaps; one that is gone, or has no such key, sets nothing."""
        if change.key.name != self._name:
            return
        text = (change.new.data or {}).get(SETTINGS_KEY, "{}") if change.new is not None else "{}"
        try:
            settings = parse_settings(text)
        except ValueError as error:
            log.error("settings of the mesh not used, the former stay", config_map=self._name, reason=str(error))
            return
        if settings != self._current:
            self._current = settings
            log.info("settings of the mesh changed", config_map=self._name)
            self._changed(settings)


def parse_settings(text: str) -> LogSettings:
    """Read the settings; raises ValueError (msgspec's, or AccessFormatError): they cannot be used."""
    settings = msgspec.json.decode(text, type=LogSettings)
    try:
        AccessFormat.parse(settings.proxy.access_logging.file.format)
    except AccessFormatError as error:
        raise AccessFormatError(f"proxy.accessLogging.file.format: {error}") from error
    return settings
