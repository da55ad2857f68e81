"""One call to one endpoint of a peer, step by step, up to the answer or to what stopped it.

Fail closed: nothing is asked of a server whose certificate is not the expected one. In TLS 1.3 a server that refuses
our certificate says so only after the handshake, so that its alert comes in place of the answer.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

from isthmus.federation.findings import Attempt, Fault, Step
from isthmus.identity import InvalidCertificateError
from isthmus.mutual_tls import presented_chain
from isthmus.probe.channel import Tls, connected
from isthmus.probe.faults import fault_of_connect, fault_of_tls, in_words, shown
from isthmus.probe.http import Exchange, Head, NoAnswerError, NotHttpError
from isthmus.probe.judgement import facts, judged, read_chain
from isthmus.probe.orders import ExpectedServer, ProbeOrder

TIME_HEADER: Final = "isthmus-time"
"""Header by which a peer of our kind says what time it is: seconds since 1970."""
LINGER_S: Final = 0.5
MAX_CLOCK_OFFSET_S: Final = 10 * 366 * 86400.0


class _StoppedError(Exception):
    """The call ends here; what stopped it has been noted."""


class Call:
    """An attempt under way: :meth:`run` once, then read ``attempt``."""

    def __init__(self, order: ProbeOrder, expected: ExpectedServer, *, address: str, host: str) -> None:
        """``host`` is the IP address to call, one of those that ``address`` has."""
        self._order = order
        self._expected = expected
        self._found: dict[str, Any] = {"address": address, "port": order.port, "host": host, "reached": Step.RESOLVE}
        self._host = host
        self.clock_offset_s: float | None = None
        """How far the peer's clock is ahead of ours, if it said."""

    @property
    def attempt(self) -> Attempt:
        return Attempt(**self._found)

    async def run(self, context: ssl.SSLContext, *, source: str, timeout_s: float, resolve_ms: float) -> None:
        """Call from the address ``source`` with our certificate in ``context``. Whatever happens is in ``attempt``."""
        self._found["resolve_ms"] = resolve_ms
        try:
            async with asyncio.timeout(timeout_s):
                await self._run(context, source)
        except TimeoutError:
            self._found |= {"fault": Fault.TIMED_OUT, "detail": f"no answer within {timeout_s:.1f} s"}
        except _StoppedError:
            pass

    async def _run(self, context: ssl.SSLContext, source: str) -> None:
        async with AsyncExitStack() as stack:
            with self._reaching(Step.CONNECT, fault_of_connect):
                opened = connected(self._host, self._order.port, source=source)
                connection = await stack.enter_async_context(opened)
            tls = await self._handshake(connection, context)
            self._judge(tls)
            await (self._ask(tls) if self._order.path else self._linger(tls))

    async def _handshake(self, connection: socket.socket, context: ssl.SSLContext) -> Tls:
        tls = Tls(connection, context, server_name=self._order.server_name)
        with self._reaching(Step.HANDSHAKE, lambda error: fault_of_tls(error, tls.first_bytes)):
            try:
                await tls.handshake()
            except ssl.SSLError as error:
                if fault_of_tls(error, tls.first_bytes) is Fault.NOT_TLS:
                    self._stop(Fault.NOT_TLS, f"it began with {shown(tls.first_bytes)}")
                raise
        return tls

    def _judge(self, tls: Tls) -> None:
        try:
            chain = read_chain(presented_chain(tls.session))
        except InvalidCertificateError as error:
            self._stop(Fault.NO_IDENTITY, str(error))
        self._found["certificate"] = facts(chain[0])
        verdict = judged(chain, self._expected, datetime.now(UTC))
        if verdict.fault is not None:
            self._stop(verdict.fault, verdict.detail)
        self._found["reached"] = Step.TRUST

    async def _ask(self, tls: Tls) -> None:
        asked_at = time.time()
        with self._timed(Step.ANSWER), self._noting(lambda error: fault_of_tls(error, tls.first_bytes)):
            head = await self._head(tls)
        self._note_clock(head, asked_at)
        self._found["status"] = head.status
        if head.status != 200:
            self._stop(Fault.STATUS, head.status_line)
        self._found["reached"] = Step.ANSWER

    async def _linger(self, tls: Tls) -> None:
        """A server that does not want our certificate says so now; one that closes may have nothing to serve."""
        with self._noting(lambda error: fault_of_tls(error, tls.first_bytes)), suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                await tls.receive()

    async def _head(self, tls: Tls) -> Head:
        try:
            return await Exchange(tls).ask("GET", self._order.path, host=self._order.server_name)
        except NotHttpError as error:
            self._stop(Fault.PROTOCOL, f"not HTTP: {error}")
        except NoAnswerError:
            self._stop(Fault.CLOSED, "the connection was closed in place of an answer")

    def _note_clock(self, head: Head, asked_at: float) -> None:
        """As of the middle of the call; what is no sensible time is as good as none."""
        try:
            offset_s = float(head.headers.get(TIME_HEADER, "")) - (asked_at + time.time()) / 2
        except ValueError:
            return
        if abs(offset_s) <= MAX_CLOCK_OFFSET_S:
            self.clock_offset_s = round(offset_s, 3)

    @contextmanager
    def _reaching(self, step: Step, fault_of: Callable[[OSError], Fault]) -> Iterator[None]:
        """The block is what it takes to reach ``step``; ``fault_of`` says what its failure means."""
        with self._timed(step), self._noting(fault_of):
            yield
        self._found["reached"] = step

    @contextmanager
    def _noting(self, fault_of: Callable[[OSError], Fault]) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._stop(fault_of(error), in_words(error))

    @contextmanager
    def _timed(self, step: Step) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self._found[f"{step}_ms"] = since_ms(began)

    def _stop(self, fault: Fault, detail: str) -> NoReturn:
        self._found |= {"fault": fault, "detail": detail}
        raise _StoppedError


def since_ms(began: float) -> float:
    """Milliseconds since ``began``, a reading of ``time.perf_counter``."""
    return round((time.perf_counter() - began) * 1000, 3)
