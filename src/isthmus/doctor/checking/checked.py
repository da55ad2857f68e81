"""What came of checking one link."""

from dataclasses import dataclass

from isthmus.api.check import Check, CheckStep
from isthmus.federation.checks import verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The steps, and the answer that they are from; ``check`` is None if no control plane has answered."""

    namespace: str
    peer: str
    steps: tuple[CheckStep, ...]
    check: Check | None = None

    @property
    def verdict(self) -> str:
        """``passed``, ``failed`` or ``unproved``."""
        return verdict(self.steps)
