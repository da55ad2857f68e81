"""The status is what the ServiceMeshPeer's API documents."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.federation.status import MOST_REMOTES, DiscoveryStatus, PodDiscoveryStatus, WatchStatus, from_json, to_json

NOON = datetime(2021, 10, 5, 12, 0, 0, tzinfo=UTC)


def _at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def _entry(pod: str, *, connected: bool) -> PodDiscoveryStatus:
    entry = PodDiscoveryStatus.of(pod)
    return entry.with_watch(entry.watch.succeeded(NOON)) if connected else entry


def test_the_documented_example() -> None:
    """REFERENCE of the API: the shape of the example in the product's documentation, key by key."""
    entry = PodDiscoveryStatus.of("istiod-red-mesh-b65457658-9wq5j")
    remote = entry.remote("10.128.2.149").succeeded(_at(1)).got_list(_at(1))
    watch = entry.watch.succeeded(_at(0)).failed(_at(2), cause="503 Service Unavailable").succeeded(_at(3))
    status = DiscoveryStatus().merged(entry.with_remote(remote).with_watch(watch.got_list(_at(60))))
    assert to_json(status) == {
        "active": [
            {
                "pod": "istiod-red-mesh-b65457658-9wq5j",
                "remotes": [
                    {
                        "source": "10.128.2.149",
                        "connected": True,
                        "lastConnected": "2021-10-05T12:00:01Z",
                        "lastFullSync": "2021-10-05T12:00:01Z",
                    }
                ],
                "watch": {
                    "connected": True,
                    "lastConnected": "2021-10-05T12:00:03Z",
                    "lastDisconnect": "2021-10-05T12:00:02Z",
                    "lastDisconnectStatus": "503 Service Unavailable",
                    "lastFullSync": "2021-10-05T12:01:00Z",
                },
            }
        ],
        "inactive": [],
    }


def test_a_new_pod_is_inactive_and_says_no_more_than_that() -> None:
    """Keys without a value are left out; connected and the two lists never are."""
    assert to_json(DiscoveryStatus().merged(PodDiscoveryStatus.of("istiod-a"))) == {
        "active": [],
        "inactive": [{"pod": "istiod-a", "watch": {"connected": False}}],
    }


def test_times_are_utc_in_whole_seconds() -> None:
    """A moment of another zone, with a fraction, is written in UTC without it."""
    moment = datetime(2021, 10, 5, 14, 0, 1, 999_999, tzinfo=timezone(timedelta(hours=2)))
    watch = WatchStatus(connected=False).succeeded(moment).got_event(moment)
    assert (watch.last_connected, watch.last_event) == (_at(1), _at(1))


def test_last_disconnect_only_if_it_had_been_connected() -> None:
    """An attempt that failed sets the cause, not the time of a disconnect."""
    watch = WatchStatus(connected=False).failed(NOON, cause="no such host")
    assert (watch.last_disconnect, watch.last_disconnect_status) == (None, "no such host")
    lost = watch.succeeded(_at(1)).failed(_at(2), cause="closed").failed(_at(3), cause="403 Forbidden")
    assert (lost.connected, lost.last_disconnect, lost.last_disconnect_status) == (False, _at(2), "403 Forbidden")


def test_a_cause_is_one_short_line() -> None:
    """Whatever a peer answers, the status stays readable."""
    status = WatchStatus(connected=False).failed(NOON, cause="a\r\n b" + "c" * 999).last_disconnect_status
    assert status.startswith("a bccc")
    assert len(status) == 300


def test_a_remote_without_cause_tells_none() -> None:
    """A remote that goes away has no lastDisconnectStatus, as in the original."""
    entry = PodDiscoveryStatus.of("istiod-a")
    entry = entry.with_remote(entry.remote("10.0.0.1").succeeded(NOON).failed(_at(1)))
    remotes = to_json(DiscoveryStatus.of([entry]))["inactive"][0]["remotes"]
    assert remotes == [
        {
            "source": "10.0.0.1",
            "connected": False,
            "lastConnected": "2021-10-05T12:00:00Z",
            "lastDisconnect": "2021-10-05T12:00:01Z",
        }
    ]


def test_remotes_are_sorted_and_unique() -> None:
    """remotes is a list-map by source: one entry each, in a stable order."""
    entry = PodDiscoveryStatus.of("istiod-a")
    for source in ("10.0.0.2", "10.0.0.1", "10.0.0.2"):
        entry = entry.with_remote(entry.remote(source).succeeded(NOON))
    assert [remote.source for remote in entry.remotes] == ["10.0.0.1", "10.0.0.2"]


@pytest.mark.parametrize(("away_s", "is_kept"), [(0, True), (300, True), (301, False), (-1, False)])
def test_a_remote_is_pruned_after_five_minutes(away_s: int, is_kept: bool) -> None:
    """Remotes that are away for more than five minutes, or by a clock set back, go; connected ones never do."""
    entry = PodDiscoveryStatus.of("istiod-a")
    entry = entry.with_remote(entry.remote("10.0.0.1").succeeded(NOON))
    entry = entry.with_remote(entry.remote("10.0.0.2").succeeded(NOON).failed(NOON))
    pruned = entry.pruned(_at(away_s))
    assert [remote.source for remote in pruned.remotes] == ["10.0.0.1"] + ["10.0.0.2"] * is_kept


def test_remotes_are_bounded() -> None:
    """A peer that comes from ever more addresses is told of with the latest; what is connected stays longest."""
    entry = PodDiscoveryStatus.of("istiod-a")
    entry = entry.with_remote(entry.remote("10.0.0.1").succeeded(NOON))
    for number in range(MOST_REMOTES):
        source = f"10.1.0.{number}"
        entry = entry.with_remote(entry.remote(source).succeeded(_at(number + 1)))
        entry = entry.with_remote(entry.remote(source).failed(_at(number + 1)))
    sources = {remote.source for remote in entry.remotes}
    assert sources == {"10.0.0.1", *(f"10.1.0.{number}" for number in range(1, MOST_REMOTES))}


def test_merging_moves_one_pod_and_leaves_the_others() -> None:
    """A pod writes its own entry, wherever it was, and no other's."""
    status = DiscoveryStatus.of([_entry(pod, connected=True) for pod in "cab"])
    merged = status.merged(_entry("b", connected=False))
    assert [entry.pod for entry in merged.active] == ["a", "c"]
    assert [entry.pod for entry in merged.inactive] == ["b"]
    assert merged.active == (status.active[0], status.active[2])


def test_the_leader_removes_pods_that_are_gone() -> None:
    """Entries of pods that no longer exist go, the others stay."""
    status = DiscoveryStatus.of(
        [_entry("a", connected=True), _entry("b", connected=False), _entry("c", connected=True)]
    )
    assert [entry.pod for entry in status.without_pods_but({"b", "c", "d"}).entries] == ["c", "b"]


moments = st.none() | st.integers(0, 4_000_000_000).map(lambda second: datetime.fromtimestamp(second, UTC))
watches: st.SearchStrategy[Any] = st.builds(
    WatchStatus,
    connected=st.booleans(),
    last_connected=moments,
    last_event=moments,
    last_full_sync=moments,
    last_disconnect=moments,
    last_disconnect_status=st.text(max_size=20),
)
pods = st.builds(PodDiscoveryStatus, pod=st.sampled_from("abcd"), watch=watches)


@given(st.lists(pods))
def test_a_status_round_trips(entries: list[PodDiscoveryStatus]) -> None:
    """What was written is read back as the same value."""
    status = DiscoveryStatus.of(entries)
    assert from_json(to_json(status)) == status


@pytest.mark.parametrize(
    "value", [None, {}, [], "x", {"active": None, "inactive": None}, {"active": [{"pod": 1}]}, {"active": [{}]}]
)
def test_what_is_no_status_counts_as_none(value: object) -> None:
    """The first write after something strange starts over instead of failing for ever."""
    assert from_json(value) == DiscoveryStatus()
