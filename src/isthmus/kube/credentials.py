"""Who we are to the API server: a header that each request gets, and what to do when it is refused.

Client certificates are not here: they belong to the connection.
"""

import asyncio
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Protocol

import aiohttp
import httpx2
from lightkube.config.client_adapter import user_auth
from lightkube.config.models import User

TOKEN_LIFE_S = 60.0
"""How long a token that was read is used: tokens are renewed at 80% of an hour, so a minute late is early enough."""


class Credential(Protocol):
    """Gives the ``Authorization`` header."""

    async def header(self, *, refused: str = "") -> str:
        """Return the header's value. ``refused``: one that the server has just refused; the same again ends that."""


class TokenFile:
    """A bearer token in a file that someone else renews.

    Source: Kubernetes, "Managing Service Accounts", "Bound service account tokens": they expire within the hour.
    """

    def __init__(self, path: Path) -> None:
        """Remember where it is; nothing is read yet."""
        self._path = path
        self._header = ""
        self._read_at = float("-inf")

    async def header(self, *, refused: str = "") -> str:
        """Read the file again after a minute, and when its token is refused."""
        now = asyncio.get_running_loop().time()
        if now - self._read_at > TOKEN_LIFE_S or self._header == refused:
            self._header = f"Bearer {(await asyncio.to_thread(self._path.read_text)).strip()}"
            self._read_at = now
        return self._header


class Flow:
    """What a kubeconfig says otherwise: a token, a password, or a command that gives a token; as lightkube reads it."""

    def __init__(self, auth: httpx2.Auth) -> None:
        """``auth`` is asked at the first request, and when what it said is refused."""
        self._auth = auth
        self._header = ""

    async def header(self, *, refused: str = "") -> str:
        """Ask for it anew if there is none, or none that is taken."""
        if self._header == refused:
            self._header = await self._ask(is_refused=bool(refused))
        return self._header

    async def _ask(self, *, is_refused: bool) -> str:
        flow = self._auth.async_auth_flow(httpx2.Request("GET", "https://kubernetes.invalid"))
        try:
            request = await anext(flow)
            if is_refused:
                request = await flow.asend(httpx2.Response(401))
        except StopAsyncIteration:
            return self._header
        finally:
            await flow.aclose()
        return str(request.headers.get("Authorization", ""))


def credential_of(user: User, absolute: Callable[[str], str | PathLike[str]]) -> Credential | None:
    """Return what the user of a kubeconfig has; None if that is nothing, or in the certificate.

    absolute: makes a path in the kubeconfig one of the file system. Raises ConfigError for what is not supported.
    """
    if user.token_file:
        return TokenFile(Path(absolute(user.token_file)))
    auth = user_auth(user)
    return Flow(auth) if auth is not None else None


def authorizing(credential: Credential | None) -> Sequence[aiohttp.ClientMiddlewareType]:
    """Return what gives each request of a session its header; if that is refused, it is sent once more with another."""
    if credential is None:
        return ()

    async def send(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        header = request.headers["Authorization"] = await credential.header()
        answer = await handler(request)
        if answer.status != 401 or (other := await credential.header(refused=header)) == header:
            return answer
        answer.release()
        request.headers["Authorization"] = other
        return await handler(request)

    return (send,)
