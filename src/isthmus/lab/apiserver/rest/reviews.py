"""Reviews: questions put as objects that are not kept."""

from __future__ import annotations

from starlette.responses import Response

from isthmus.lab.apiserver.errors import method_not_allowed
from isthmus.lab.apiserver.rest.services import Call, Services


async def review(services: Services, call: Call) -> Response:
    """Answer a review. Raises StatusError."""
    raise method_not_allowed()
