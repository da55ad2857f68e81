"""Errors of others, translated."""

import httpx2
import msgspec
import pytest
from lightkube import ApiError
from lightkube.models.meta_v1 import Status

from isthmus.kube import errors

REQUEST = httpx2.Request("GET", "https://127.0.0.1/api")


def api_error(code: int, reason: str = "", message: str = "no") -> ApiError:
    """Make lightkube's error."""
    return ApiError(status=Status(code=code, reason=reason, message=message))


CASES = [
    (api_error(401), errors.Denied),
    (api_error(403), errors.Denied),
    (api_error(404), errors.NotFound),
    (api_error(409, "Conflict"), errors.Conflict),
    (api_error(409, "AlreadyExists"), errors.AlreadyExists),
    (api_error(410), errors.Expired),
    (api_error(415), errors.Refused),
    (api_error(422), errors.Refused),
    (api_error(429), errors.Unavailable),
    (api_error(500), errors.Unavailable),
    (api_error(507), errors.Unavailable),
    (httpx2.HTTPStatusError("no", request=REQUEST, response=httpx2.Response(503)), errors.Unavailable),
    (httpx2.ConnectError("refused"), errors.Unavailable),
    (httpx2.ReadTimeout("late"), errors.Unavailable),
    (httpx2.RemoteProtocolError("half"), errors.Unavailable),
    (ConnectionResetError(), errors.Unavailable),
    (msgspec.DecodeError("not JSON"), errors.Unavailable),
]


@pytest.mark.parametrize(("foreign", "kind"), CASES, ids=lambda each: repr(each)[:40])
def test_translation(foreign: Exception, kind: type[errors.KubeError]) -> None:
    """Each error of a request becomes one that says what can be done, and what was being done."""
    with pytest.raises(kind, match="cannot list pods") as caught, errors.translated("list pods"):
        raise foreign
    assert type(caught.value) is kind
    assert caught.value.__cause__ is foreign


def subclasses(kind: type[Exception]) -> set[type[Exception]]:
    """Return all subclasses."""
    return {kind}.union(*(subclasses(each) for each in kind.__subclasses__()))


def test_table_is_complete() -> None:
    """Every error that httpx2 has for a request is translated."""
    for kind in subclasses(httpx2.TransportError):
        assert isinstance(errors.translate(kind("no"), doing="x"), errors.KubeError)


def test_errors_of_our_own_are_not_swallowed() -> None:
    """A bug is not taken for a failure of the API."""
    with pytest.raises(KeyError), errors.translated("list pods"):
        raise KeyError("bug")
    with pytest.raises(TypeError):
        errors.translate(KeyError("bug"), doing="x")


def test_long_messages_are_trimmed() -> None:
    """A page of HTML does not end up in the log."""
    assert len(str(errors.error_of(500, "x" * 10_000, doing="list pods"))) < 600
