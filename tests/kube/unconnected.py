"""A client of the Kubernetes API for what is never to ask it anything."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from isthmus.kube import Client


@asynccontextmanager
async def unconnected() -> AsyncIterator[Client]:
    """A client without API server; whoever asks it fails."""
    async with aiohttp.ClientSession() as http:
        yield Client(None, http, server="http://api.invalid", field_manager="test")  # type: ignore[arg-type]
