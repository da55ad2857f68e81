"""A step of the demonstration that takes too long."""

import asyncio
from pathlib import Path

import pytest

from isthmus.demo import CommandError, Demonstration, Settings

REPOSITORY = Path(__file__).parents[2]


async def test_a_step_that_takes_too_long_says_which(tmp_path: Path) -> None:
    """Whoever waits is told which step did not come to an end, wherever in it the time ran out."""
    settings = Settings(REPOSITORY, tmp_path, Path("kubectl"), ("red", "green"))
    demonstration = Demonstration(settings, lambda what, seconds: None)

    async def run_late() -> None:
        with demonstration._step("two clusters", "clusters_ready"):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(late())

    async def late() -> None:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    with pytest.raises(CommandError, match="two clusters: not done within"):
        await run_late()
    assert demonstration.report.timings_s == {}
