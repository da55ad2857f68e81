"""UDP from one address to a ready backend: each client keeps its backend as long as it sends."""

import asyncio
import random
import socket
from contextlib import suppress
from typing import Any

from isthmus.lab.proxy.forwarding import Backend, Frontend

IDLE_S = 30.0
MOST_CLIENTS = 1024
DATAGRAM_BYTES = 65535

Address = tuple[str, int]


class UdpForward:
    """One listening address."""

    def __init__(self, frontend: Frontend, backends: tuple[Backend, ...]) -> None:
        self.backends = backends
        self._frontend = frontend
        self._clients: dict[Address, _Client] = {}
        self._socket = _datagram_socket()

    def listen(self) -> None:
        """Bind. Raises OSError if the address is taken, PermissionError for a port that is not allowed."""
        self._socket.bind((self._frontend.address, self._frontend.port))

    def close(self) -> None:
        """Stop listening; after :meth:`run` has ended."""
        self._socket.close()

    async def run(self, _connections: asyncio.TaskGroup) -> None:
        """Forward until cancelled; there are no connections that could outlive it."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._socket.fileno(), self._receive)
        try:
            while True:
                await asyncio.sleep(IDLE_S / 2)
                self._forget_idle(loop.time() - IDLE_S)
        finally:
            loop.remove_reader(self._socket.fileno())
            for client in list(self._clients.values()):
                client.close()

    def _receive(self) -> None:
        while True:
            try:
                data, address = self._socket.recvfrom(DATAGRAM_BYTES)
            except OSError:  # nothing more for now, or an error that concerns an earlier answer
                return
            client = self._clients.get(address)
            if client is None or client.backend not in self.backends:
                client = self._new_client(address, client)
            if client is not None:
                client.send(data)

    def _new_client(self, address: Address, old: "_Client | None") -> "_Client | None":
        if old is not None:
            old.close()
        if len(self._clients) >= MOST_CLIENTS:  # the one that has been quiet for longest makes room
            self._clients.pop(min(self._clients, key=lambda a: self._clients[a].last)).close()
        client = self._clients[address] = _Client(address, random.choice(self.backends), answer=self._answer)  # noqa: S311
        return client

    def _answer(self, data: bytes, address: Address) -> None:
        with suppress(OSError):
            self._socket.sendto(data, address)

    def _forget_idle(self, before: float) -> None:
        for address, client in list(self._clients.items()):
            if client.last < before:
                client.close()
                del self._clients[address]


class _Client:
    """One client's socket to its backend, bound to the client's own address where possible."""

    def __init__(self, address: Address, backend: Backend, *, answer: Any) -> None:
        self.backend = backend
        self._address = address
        self._answer = answer
        self._loop = asyncio.get_running_loop()
        self.last = self._loop.time()
        self._socket = _datagram_socket()
        with suppress(OSError):
            self._socket.bind((address[0], 0))
        self._socket.connect(tuple(backend))
        self._loop.add_reader(self._socket.fileno(), self._receive)

    def send(self, data: bytes) -> None:
        self.last = self._loop.time()
        with suppress(OSError):  # a refusal reaches the client as silence, as with any datagram
            self._socket.send(data)

    def _receive(self) -> None:
        while True:
            try:
                data = self._socket.recv(DATAGRAM_BYTES)
            except OSError:
                return
            self.last = self._loop.time()
            self._answer(data, self._address)

    def close(self) -> None:
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()


def _datagram_socket() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
