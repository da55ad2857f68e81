"""Which events are the echo of our own writes, whenever they come."""

from collections.abc import Callable

import pytest
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap

from isthmus.kube import Apply, Client
from isthmus.kube.errors import Unavailable
from isthmus.kube.store import KubeObject
from isthmus.pilot.own_writes import MOST_AWAITED, OwnWrites

WRITES = [Apply(ConfigMap(metadata=ObjectMeta(name=name, namespace="red"))) for name in ("first", "second")]


class _Server(Client):
    """Gives each write the next resource version; ``meanwhile`` happens before the answer to each."""

    def __init__(self, meanwhile: Callable[[str], object] = lambda _: None) -> None:
        self._meanwhile = meanwhile
        self._version = 0

    async def apply(self, obj: KubeObject, *, doing: str) -> str:
        """Write."""
        self._version += 1
        self._meanwhile(str(self._version))
        return str(self._version)


async def test_events_after_the_answers() -> None:
    """Each version is an echo once; the key stays written until it is forgotten."""
    own: OwnWrites[str] = OwnWrites()
    assert not await own.carry_out(_Server(), "a", WRITES)
    assert [own.is_echo("a", version) for version in ("1", "1", "2", "3", None)] == [True, False, True, False, False]
    assert not own.is_echo("b", "1")
    assert "a" in own
    own.forget("a")
    assert "a" not in own


async def test_events_before_the_answers() -> None:
    """What is heard while writing is no work yet; at the end it is told whether it was all our own."""
    own: OwnWrites[str] = OwnWrites()
    assert not await own.carry_out(_Server(lambda version: own.is_echo("a", version)), "a", WRITES)
    assert not own.is_echo("a", "1"), "it was heard of already"
    assert await own.carry_out(_Server(lambda _: own.is_echo("a", "someone else's")), "a", WRITES)
    assert await own.carry_out(_Server(lambda _: own.is_echo("a", None)), "a", WRITES), "it was deleted meanwhile"


async def test_writes_that_follow_each_other() -> None:
    """Events of the first are known while the second is under way and after it; of very many only the last."""
    own: OwnWrites[str] = OwnWrites()
    server = _Server(lambda version: version == "3" and own.is_echo("a", "1"))
    await own.carry_out(server, "a", WRITES)
    assert not await own.carry_out(server, "a", WRITES), "all of it was ours"
    assert [own.is_echo("a", version) for version in ("1", "2", "3", "4")] == [False, True, True, True]
    for _ in range(MOST_AWAITED):
        await own.carry_out(server, "a", WRITES)
    last = 4 + 2 * MOST_AWAITED
    assert not own.is_echo("a", str(last - MOST_AWAITED))
    assert own.is_echo("a", str(last - MOST_AWAITED + 1))


async def test_a_write_that_fails_hides_nothing() -> None:
    """Events that come after it are looked at again."""

    def fail(_: str) -> None:
        raise Unavailable("the API server is away")

    own: OwnWrites[str] = OwnWrites()
    with pytest.raises(Unavailable):
        await own.carry_out(_Server(fail), "a", WRITES)
    assert not own.is_echo("a", "1")


async def test_nothing_to_write_changes_nothing() -> None:
    """What was written before is still told when its event comes."""
    own: OwnWrites[str] = OwnWrites()
    await own.carry_out(_Server(), "a", WRITES)
    assert not await own.carry_out(_Server(), "a", [])
    assert own.is_echo("a", "1")
