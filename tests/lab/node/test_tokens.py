"""Tokens of pods: renewed in time, also by a clock that somebody sets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from lightkube import AsyncClient, KubeConfig
from lightkube.models.core_v1 import Container, PodSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Pod, ServiceAccount
from tests.lab.apiserver.clients import running
from tests.waiting import until

from isthmus.lab.apiserver import Settings, Started
from isthmus.lab.node.sources import TokenWish
from isthmus.lab.node.tokens import PodTokens, renewal_s

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WISH = TokenWish("", 3600)


@pytest.mark.parametrize(
    ("passed_s", "left_s"),
    [(0, 480), (100, 380), (480, 0), (3600, 0), (-5, 485), (-31, 0), (-3600, 0)],
    ids=["new", "in use", "in time", "set forward", "corrected a little", "set back", "set back an hour"],
)
def test_tokens_are_renewed_in_time(passed_s: float, left_s: float) -> None:
    """A token is renewed when 80% of its life have gone, and when the clock says that it is not valid yet."""
    now = NOW + timedelta(seconds=passed_s)
    assert max(0.0, renewal_s(now=now, given=NOW, expires=NOW + timedelta(seconds=600))) == left_s


class Clock:
    """A wall clock that somebody sets."""

    def __init__(self) -> None:
        self.ahead = timedelta()
        self.looks = 0

    def __call__(self) -> datetime:
        self.looks += 1
        return datetime.now(UTC) + self.ahead


@asynccontextmanager
async def lightkube(server: Started, folder: Path) -> AsyncIterator[AsyncClient]:
    """The administrator's client, closed at the end."""
    path = folder / "kubeconfig"
    await asyncio.to_thread(server.kubeconfig().write, path)
    client = AsyncClient(await asyncio.to_thread(KubeConfig.from_file, path), trust_env=False)
    try:
        yield client
    finally:
        await client.close()


@pytest.mark.slow
@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_clock_that_is_set_leaves_no_pod_without_a_token(tmp_path: Path, hours: int) -> None:
    """As soon as a token is not valid by the clock, the pod has another; not only after most of its life."""
    clock, given = Clock(), list[str]()
    async with running(Settings(tmp_path / "data")) as server, lightkube(server, tmp_path) as client:
        await client.create(ServiceAccount(metadata=ObjectMeta(name="bob")))
        spec = PodSpec(containers=[Container(name="c", image="i")], serviceAccountName="bob")
        pod = await client.create(Pod(metadata=ObjectMeta(name="one"), spec=spec))
        tokens = PodTokens(client, pod, changed=lambda: given.append(tokens.present[WISH]), clock=clock)
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(tokens.keep(WISH))
            await until(lambda: clock.looks == 2)  # when the token was given, and when it was to be kept
            clock.ahead = timedelta(hours=hours)
            await until(lambda: len(given) == 2)
            keeping.cancel()
        assert given[0] != given[1]
