"""The store against a dictionary: whatever is written, read, watched, compacted and reopened."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from isthmus.lab.apiserver.errors import RevisionConflictError
from isthmus.lab.apiserver.objects import Encoded, Key, Stored
from isthmus.lab.apiserver.storage import Store, Write
from isthmus.lab.apiserver.storage.state import ExpiredError, Watcher, Window
from isthmus.lab.apiserver.storage.store import open_store

WINDOW = Window(events=16)
KEYS = st.builds(
    Key, st.sampled_from(["pods", "services"]), st.sampled_from(["a", "b"]), st.sampled_from(["x", "y", "z"])
)
PAYLOADS = st.integers(0, 9)

State = dict[Key, tuple[int, bytes]]


@dataclass(frozen=True, slots=True)
class Change:
    """One event of the model."""

    revision: int
    key: Key
    data: bytes
    deleted: bool


def encoded(payload: int) -> Encoded:
    return Encoded(b'{"metadata":{"resourceVersion":"', b'"},"n":%d}' % payload)


class StoreMachine(RuleBasedStateMachine):
    """Drives a real store on a real file; the model keeps every state that ever was."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.directory = Path(tempfile.mkdtemp())
        self.history: list[State] = [{}]
        self.changes: list[Change] = []
        self.watchers: list[tuple[Watcher, int]] = []
        self.stack = AsyncExitStack()
        self.store = self.open()

    def open(self) -> Store:
        return self.loop.run_until_complete(self.stack.enter_async_context(open_store(self.directory, window=WINDOW)))

    def write(self, write: Write) -> Stored:
        return self.loop.run_until_complete(self.store.write(write))

    @property
    def present(self) -> State:
        return self.history[-1]

    def note(self, key: Key, stored: Stored, *, deleted: bool) -> None:
        assert stored.revision == len(self.history)
        after = dict(self.present)
        after.pop(key, None)
        if not deleted:
            after[key] = (stored.revision, stored.data)
        self.history.append(after)
        self.changes.append(Change(stored.revision, key, stored.data, deleted))

    @rule(key=KEYS, payload=PAYLOADS)
    def put(self, key: Key, payload: int) -> None:
        expected = self.present[key][0] if key in self.present else None
        self.note(key, self.write(Write(key, expected, encoded(payload))), deleted=False)

    @rule(key=KEYS, payload=PAYLOADS, off=st.integers(1, 3))
    def put_with_a_wrong_revision(self, key: Key, payload: int, off: int) -> None:
        expected = self.present[key][0] + off if key in self.present else off
        with pytest.raises(RevisionConflictError):
            self.write(Write(key, expected, encoded(payload)))

    @precondition(lambda self: self.present)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.present)))
        stored = self.write(Write(key, self.present[key][0], encoded(0), deleted=True))
        self.note(key, stored, deleted=True)

    @rule(payloads=st.lists(PAYLOADS, min_size=2, max_size=6))
    def put_many_at_once(self, payloads: list[int]) -> None:
        """Writes that wait together are committed together; of those for one key only the first fits."""
        key = Key("pods", "a", "x")
        expected = self.present[key][0] if key in self.present else None

        async def race() -> list[Stored | BaseException]:
            results: list[Stored | BaseException] = []

            async def one(payload: int) -> None:
                try:
                    results.append(await self.store.write(Write(key, expected, encoded(payload))))
                except RevisionConflictError as error:
                    results.append(error)

            async with asyncio.TaskGroup() as group:
                for payload in payloads:
                    group.create_task(one(payload))
            return results

        stored = [one for one in self.loop.run_until_complete(race()) if isinstance(one, Stored)]
        assert len(stored) == 1
        self.note(key, stored[0], deleted=False)

    @rule(
        resource=st.sampled_from(["pods", "services"]),
        namespace=st.sampled_from(["", "a"]),
        name=st.sampled_from(["", "x"]),
    )
    def watch(self, resource: str, namespace: str, name: str) -> None:
        self.watchers.append((self.store.state.watch(resource, namespace, name), len(self.changes)))

    @rule()
    def reopen(self) -> None:
        self.loop.run_until_complete(self.stack.aclose())
        self.watchers.clear()
        self.store = self.open()

    @rule(back=st.integers(0, 24), resource=st.sampled_from(["pods", "services"]))
    def look_back(self, back: int, resource: str) -> None:
        """Every revision is either completely there, to list and to watch from, or expired."""
        revision = max(len(self.history) - 1 - back, 0)
        state = self.store.state
        if revision < state.compacted:
            with pytest.raises(ExpiredError):
                state.watch_since(resource, "", revision)
            return
        listed = {one.key: (one.revision, one.data) for one in state.listed_at(resource, "", revision)}
        assert listed == {key: value for key, value in self.history[revision].items() if key.resource == resource}
        watcher = state.watch_since(resource, "", revision)
        expected = [one for one in self.changes if one.revision > revision and one.key.resource == resource]
        self.expect(watcher, expected)
        state.unwatch(watcher)

    def expect(self, watcher: Watcher, expected: list[Change]) -> None:
        events = self.loop.run_until_complete(watcher.wait_events(0))
        seen = [Change(one.revision, one.key, one.stored.data, one.deleted) for one in events]
        assert seen == expected

    @invariant()
    def the_present_is_the_model(self) -> None:
        state = self.store.state
        assert state.revision == len(self.history) - 1
        for resource in ("pods", "services"):
            listed = {one.key: (one.revision, one.data) for one in state.listed(resource)}
            assert listed == {key: value for key, value in self.present.items() if key.resource == resource}
            assert list(listed) == sorted(listed)

    @invariant()
    def watchers_see_every_event_once_in_order(self) -> None:
        for index, (watcher, since) in enumerate(self.watchers):
            expected = [
                one
                for one in self.changes[since:]
                if one.key.resource == watcher.place.resource
                and watcher.place.namespace in ("", one.key.namespace)
                and watcher.place.name in ("", one.key.name)
            ]
            self.expect(watcher, expected)
            self.watchers[index] = (watcher, len(self.changes))

    @invariant()
    def a_window_is_always_kept(self) -> None:
        assert self.store.state.compacted <= max(len(self.changes) - WINDOW.events, 0)

    def teardown(self) -> None:
        self.loop.run_until_complete(self.stack.aclose())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        shutil.rmtree(self.directory)


TestStore = StoreMachine.TestCase
TestStore.settings = settings(max_examples=25, stateful_step_count=40)
TestStore.pytestmark = [pytest.mark.slow]  # type: ignore[attr-defined]  # pytest reads it from the class
