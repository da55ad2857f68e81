"""One open watch to a peer, from the headers of its answer to its end.

Reads the watch, keeps the time and fetches lists, all three on behalf of ``federation.peer_view``.
"""

import asyncio
import math
import time
from contextlib import suppress
from typing import Final, NoReturn

from isthmus.discovery.errors import LinkError
from isthmus.discovery.exchange import Answer, Route, call
from isthmus.discovery.lines import LineSplitter
from isthmus.discovery.report import LinkReport
from isthmus.discovery.times import TIME_HEADER, clock_offset_s, moment_of
from isthmus.discovery.watch import HEARTBEAT_HEADER
from isthmus.federation.messages import (
    MAX_EVENT_BYTES,
    MAX_LIST_BYTES,
    MalformedMessageError,
    parse_service_list,
    parse_watch_event,
)
from isthmus.federation.names import CERTIFICATE_HEADER
from isthmus.federation.peer_view import Action, Disconnect, FetchList, PeerView

LIST_TIMEOUT_S: Final = 30.0
"""For the body of a list; the longest one that is accepted needs 9 Mbit/s."""
LONGEST_HEARTBEAT_S: Final = 300.0
CLOCK_AGAIN_S: Final = 60.0
"""How often a peer that tells its time is asked for it anew while the watch stands: clocks are set meanwhile."""


class Link:
    """One watch; its owner closes the connection."""

    def __init__(
        self,
        route: Route,
        watch: Answer,
        view: PeerView,
        *,
        report: LinkReport,
        attempt: int,
        clock_again_s: float,
    ) -> None:
        self._route = route
        self._watch = watch
        self._view = view
        self._report = report
        self._attempt = attempt
        self._clock_again_s = clock_again_s
        self._list_wanted = asyncio.Event()
        self._moved = asyncio.Event()  # the view has changed, and perhaps its deadline

    async def follow(self) -> NoReturn:
        """Follow the peer until the watch ends; raises LinkError, always, with the reason."""
        heartbeat_s = _heartbeat_s(self._watch)
        self._report.certificate_ends = moment_of(self._watch.header(CERTIFICATE_HEADER))
        self._report.connected(heartbeat_s, _offset_s(self._watch))
        self._carry_out(self._view.connected(_now(), heartbeat_s=heartbeat_s))
        reason = await self._follow_until_error()
        # A group that fails while it is cancelled from outside tells of the failure only (until Python 3.13).
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError
        raise LinkError(str(reason)) from reason

    async def _follow_until_error(self) -> BaseException:
        reasons: list[BaseException] = []
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._fetch_lists(), name=f"lists of {self._route.peer}")
                tasks.create_task(self._keep_time(), name=f"heartbeat of {self._route.peer}")
                if _offset_s(self._watch) is not None:
                    tasks.create_task(self._ask_time(), name=f"clock of {self._route.peer}")
                # In the body: only there does a group of Python 3.11 take back its own cancellation of this task.
                await self._read_watch()
        except* LinkError as group:
            reasons.extend(group.exceptions)
        return reasons[0]

    async def _read_watch(self) -> None:
        lines = LineSplitter(limit=MAX_EVENT_BYTES)
        while some := await self._watch.read_some():
            self._report.received(len(some))
            for line in lines.feed(some):
                self._carry_out(self._heard(line))
        raise LinkError("the peer closed the watch")

    def _heard(self, line: bytes) -> list[Action]:
        if not line:
            return self._view.heartbeat(_now())
        try:
            event = parse_watch_event(line)
        except MalformedMessageError as error:
            return self._view.event_rejected(str(error), _now())
        self._report.got_event()
        return self._view.event(event, _now())

    async def _fetch_lists(self) -> None:
        while True:
            await self._list_wanted.wait()
            self._list_wanted.clear()
            self._carry_out(await self._fetch_list())

    async def _fetch_list(self) -> list[Action]:
        try:
            body = await self._get_list()
        except LinkError as error:
            self._report.list_failed(str(error))
            return self._view.list_failed(_now())
        self._report.received(len(body))
        try:
            services = parse_service_list(body)
        except MalformedMessageError as error:
            return self._view.list_rejected(str(error), _now())
        return self._view.list_received(services, _now())

    async def _get_list(self) -> bytes:
        async with call(self._route, "/v1/services/", attempt=self._attempt) as answer:
            if answer.status != 200:
                raise LinkError(answer.status_line)
            return await answer.read_all(limit=MAX_LIST_BYTES, timeout_s=LIST_TIMEOUT_S)

    async def _keep_time(self) -> None:
        while True:
            self._moved.clear()
            try:
                async with asyncio.timeout_at(self._view.deadline):
                    await self._moved.wait()
            except TimeoutError:
                self._carry_out(self._view.tick(_now()))

    async def _ask_time(self) -> NoReturn:
        while True:
            await asyncio.sleep(self._clock_again_s)
            with suppress(LinkError):  # how the link fares is for the watch to tell
                self._report.clock_told(await self._get_offset_s())

    async def _get_offset_s(self) -> float | None:
        async with call(self._route, "/v1/peer", attempt=self._attempt) as answer:
            offset_s = _offset_s(answer)
            await answer.read_all(limit=MAX_EVENT_BYTES, timeout_s=LIST_TIMEOUT_S)
        return offset_s

    def _carry_out(self, actions: list[Action]) -> None:
        self._moved.set()
        for action in actions:
            self._report.decided(action)
            match action:
                case FetchList():
                    self._list_wanted.set()
                case Disconnect(reason):
                    raise LinkError(reason)
                case _:
                    pass  # told to the listener


def _heartbeat_s(watch: Answer) -> float | None:
    """What the peer promises; a promise that makes no sense is none."""
    try:
        promised = float(watch.header(HEARTBEAT_HEADER) or "nan")
    except ValueError:
        return None
    return promised if math.isfinite(promised) and 0 < promised <= LONGEST_HEARTBEAT_S else None


def _offset_s(answer: Answer) -> float | None:
    """How far the peer's clock is ahead of ours; None if the answer, which has just come, does not say."""
    return clock_offset_s(answer.header(TIME_HEADER), now=time.time())


def _now() -> float:
    return asyncio.get_running_loop().time()
