"""Leader election."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightkube.resources.coordination_v1 import Lease
from tests.kube.lab import connected

from isthmus.kube import Candidacy, Candidate, Client
from isthmus.kube.lease import DEADLINE_S, DURATION_S, RETRY_S, Observation, Record, may_take, observe


def test_holder_stops_before_another_may_begin() -> None:
    """The deadline of the holder, with one attempt under way, is over before the lease runs out for others."""
    assert DEADLINE_S + 3 * RETRY_S < DURATION_S


@pytest.mark.parametrize(
    ("holder", "age_s", "may"),
    [("me", 0, True), ("", 0, True), ("other", 0, False), ("other", 14.9, False), ("other", 15, True)],
)
def test_may_take(holder: str, age_s: float, may: bool) -> None:
    """One's own lease, a free one, and one that was seen unchanged for its whole life may be taken."""
    seen = Observation(record=Record(holder, "1"), since_s=100)
    assert may_take(seen, "me", now_s=100 + age_s) is may


@given(st.lists(st.tuples(st.sampled_from(["1", "2"]), st.floats(0, 20)), min_size=1))
def test_lease_that_is_renewed_is_never_taken(looks: list[tuple[str, float]]) -> None:
    """However often it is looked at, a lease may be taken only if its version stood still for its whole life."""
    seen, now_s, still_s, last = None, 0.0, 0.0, ""
    for version, passed_s in looks:
        now_s += passed_s
        still_s = still_s + passed_s if version == last else 0.0
        last = version
        seen = observe(seen, Record("other", version), now_s=now_s)
        if may_take(seen, "me", now_s=now_s):
            assert still_s == pytest.approx(now_s - seen.since_s)
            assert still_s >= DURATION_S - 1e-6


def candidate(client: Client, identity: str) -> Candidate:
    """Return a replica that would lead."""
    return Candidate(client, Candidacy(name="test", namespace="default", identity=identity), jitter=lambda: 0.0)


@pytest.mark.slow
async def test_one_leads_and_the_next_follows(tmp_path: Path) -> None:
    """While one leads the other waits; it leads soon after the first has given up, and the Lease says so."""
    order: list[str] = []
    async with connected(tmp_path) as (_, client):

        async def second() -> None:
            async with candidate(client, "b").leading():
                order.append("b")

        async with asyncio.TaskGroup() as group, candidate(client, "a").leading():
            group.create_task(second())
            await asyncio.sleep(0.2)
            order.append("a")
        lease = await client.api.get(Lease, "test", namespace="default")
        assert order == ["a", "b"]
        assert lease.spec is not None
        assert (lease.spec.holderIdentity, lease.spec.leaseTransitions) == ("", 1)


@pytest.mark.slow
async def test_block_that_fails_gives_the_lease_up(tmp_path: Path) -> None:
    """An error of the block passes, and the lease is free at once."""
    async with connected(tmp_path) as (_, client):
        with pytest.raises(ExceptionGroup) as caught:
            async with candidate(client, "a").leading():
                raise RuntimeError("no")
        assert caught.group_contains(RuntimeError)
        lease = await client.api.get(Lease, "test", namespace="default")
        assert lease.spec is not None
        assert lease.spec.holderIdentity == ""


class Clock:
    """A wall clock that somebody sets."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.mark.slow
@pytest.mark.parametrize("hours", [-1, 1])
async def test_clocks_that_are_set_move_no_lease(tmp_path: Path, hours: int) -> None:
    """Whatever the times in the Lease say, and whoever's clock is set: its holder keeps it, and the other waits."""
    async with connected(tmp_path) as (_, client):
        clock_of = {"a": Clock(), "b": Clock()}
        a, b = (
            Candidate(client, Candidacy(name="test", namespace="default", identity=identity), now=clock)
            for identity, clock in clock_of.items()
        )
        assert await a._try()
        assert not await b._try()
        for clock in clock_of.values():
            clock.now += timedelta(hours=hours)
            assert not await b._try()
            assert await a._try()
            assert not await b._try()
        lease = await client.api.get(Lease, "test", namespace="default")
        assert lease.spec is not None
        assert (lease.spec.holderIdentity, lease.spec.leaseTransitions) == ("a", 0)
        assert lease.spec.renewTime is not None
        assert abs(lease.spec.renewTime - clock_of["a"].now) < timedelta(milliseconds=1)
