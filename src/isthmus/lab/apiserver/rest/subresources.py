"""The subresources that are more than a part of their object: scale, finalize, token, log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.responses import Response

from isthmus.lab.apiserver.rest.answers import Stream
from isthmus.lab.apiserver.rest.services import Call, Services

Subresource = Callable[[Services, Call], Awaitable[Response | Stream]]

SUBRESOURCES: Mapping[str, Subresource] = {}
