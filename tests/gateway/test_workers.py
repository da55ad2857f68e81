"""How many workers an Envoy gets."""

from dataclasses import replace

import pytest
from tests.gateway.settings import SETTINGS

from isthmus.gateway import Role
from isthmus.gateway.envoy_process import workers


@pytest.mark.parametrize(
    ("role", "open_files", "expected"),
    [
        (Role.EGRESS, -1, 2),
        (Role.EGRESS, 1_048_576, 2),
        (Role.EGRESS, 20_000, 1),
        (Role.INGRESS, 20_000, 2),
    ],
)
def test_an_egress_gateway_with_few_files_has_one_worker(role: Role, open_files: int, expected: int) -> None:
    """Each worker needs a file for each imported port; -1 stands for no limit (getrlimit(2))."""
    settings = replace(SETTINGS, role=role, concurrency=2)
    assert workers(settings, open_files=open_files) == expected
