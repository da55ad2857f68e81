"""kill -9 at any moment: what was acknowledged is there, what was not is there as a whole or not at all."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from random import Random

import pytest
from tests.lab.apiserver.fault_story import survive

ROUNDS, WRITES = (int(part) for part in os.environ.get("LAB_FAULTS", "4x300").split("x"))
"""How often the server is killed, and within how many writes: ``make test-lab-faults`` asks for more."""


@pytest.mark.slow
@pytest.mark.timeout(max(60, ROUNDS * WRITES // 100))
async def test_acknowledged_writes_survive_kill_9(tmp_path: Path) -> None:
    """After each kill every acknowledged write is there and no half of another; watchers resume and miss nothing."""
    seed = int.from_bytes(os.urandom(4))
    sys.stdout.write(f"seed {seed}\n")
    acknowledged, informers = await survive(tmp_path, Random(seed), rounds=ROUNDS, writes=WRITES)  # noqa: S311
    sys.stdout.write(f"{ROUNDS} kills, {acknowledged} acknowledged writes\n")
    assert acknowledged > ROUNDS
    assert [one.lists for one in informers] == [1] * len(informers), "watchers resumed from where they were"
