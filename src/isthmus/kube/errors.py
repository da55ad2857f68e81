"""What can go wrong with the Kubernetes API, by what the caller can do about it.

    KubeError
    ├── TryAgain            the same request may succeed later
    │   ├── Unavailable     no answer, a broken one, 429 or 5xx
    │   ├── Conflict        409: someone else wrote in between; read again first
    │   └── Expired         410: the resource version is too old; list again first
    ├── NotFound            404: the object, or its kind, is not there
    ├── AlreadyExists       409 of a create
    ├── Denied              401, 403: an administrator must grant it
    └── Refused             any other 4xx: the request itself is wrong; fix it
    TerminalError           a reconciler says that trying again is of no use until something changes

Errors of lightkube, httpx2, aiohttp and msgspec are translated here and nowhere else.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
import httpx2
import msgspec
from lightkube import ApiError


class KubeError(Exception):
    """A request to the Kubernetes API did not do what was asked. ``code``: the HTTP status, 0 if there was none."""

    def __init__(self, message: str, *, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class TryAgain(KubeError):  # noqa: N818 -- named after what to do
    """The same request may succeed later."""


class Unavailable(TryAgain):
    """No answer, a broken answer, or one that says "not now"."""


class Conflict(TryAgain):
    """Someone else wrote in between."""


class Expired(TryAgain):
    """The resource version is too old."""


class NotFound(KubeError):  # noqa: N818 -- the API's own word
    """The object, or its kind, is not there."""


class AlreadyExists(KubeError):  # noqa: N818 -- the API's own word
    """There is an object of that name."""


class Denied(KubeError):  # noqa: N818 -- named after what happened
    """Who we are is not known, or may not do this."""


class Refused(KubeError):  # noqa: N818 -- named after what happened
    """The request itself is wrong."""


class TerminalError(Exception):
    """Raised by a reconciler: trying again is of no use until something changes."""


_BY_CODE: dict[int, type[KubeError]] = {
    401: Denied,
    403: Denied,
    404: NotFound,
    409: Conflict,
    410: Expired,
    429: Unavailable,
}

_MESSAGE_LIMIT = 500


def error_of(code: int, message: str, *, doing: str, reason: str = "") -> KubeError:
    """Make the error for an HTTP status. ``doing``: what was being asked, with its object."""
    kind = _BY_CODE.get(code, Refused if 400 <= code < 500 else Unavailable)
    if code == 409 and reason == "AlreadyExists":
        kind = AlreadyExists
    return kind(f"cannot {doing}: {message[:_MESSAGE_LIMIT] or 'no reason given'} ({code})", code=code)


def translate(error: Exception, *, doing: str) -> KubeError:
    """Make ours of an error of lightkube, httpx2, aiohttp or msgspec.

    Raises TypeError for an error of anyone else: those are not to be swallowed.
    """
    match error:
        case KubeError():
            return error
        case ApiError():
            status = error.status
            return error_of(status.code or 0, status.message or "", doing=doing, reason=status.reason or "")
        case httpx2.HTTPStatusError():
            return error_of(error.response.status_code, error.response.reason_phrase, doing=doing)
        case httpx2.TimeoutException() | TimeoutError():
            return Unavailable(f"cannot {doing}: no answer in time ({type(error).__name__})")
        case httpx2.HTTPError() | httpx2.StreamError() | aiohttp.ClientError() | OSError():
            return Unavailable(f"cannot {doing}: {str(error) or type(error).__name__}")
        case msgspec.MsgspecError():
            return Unavailable(f"cannot {doing}: the answer is not what the API promises: {error}")
    raise TypeError(f"not an error of the Kubernetes API: {error!r}") from error


FOREIGN = (httpx2.HTTPError, httpx2.StreamError, aiohttp.ClientError, msgspec.MsgspecError, OSError)
"""The errors of others that a request may raise; lightkube's ApiError is one of httpx2's."""


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Translate the errors of the block. ``doing``: what it asks, as in "apply Deployment red/istiod-red"."""
    try:
        yield
    except FOREIGN as error:
        raise translate(error, doing=doing) from error
