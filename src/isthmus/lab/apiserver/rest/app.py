"""The ASGI application: authentication, authorization, routing, and errors as Status."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from isthmus.lab.apiserver.errors import (
    StatusError,
    method_not_allowed,
    page_not_found,
)
from isthmus.lab.apiserver.identity.impersonate import impersonated, impersonations
from isthmus.lab.apiserver.identity.rbac import Attributes
from isthmus.lab.apiserver.identity.user import User
from isthmus.lab.apiserver.kinds.openshift import PROJECT
from isthmus.lab.apiserver.rest import writing
from isthmus.lab.apiserver.rest.answers import Stream, json_answer, status_answer, text_answer, warn
from isthmus.lab.apiserver.rest.body import BODY_LIMIT
from isthmus.lab.apiserver.rest.oauth import OAuth
from isthmus.lab.apiserver.rest.openshift import ANSWERS
from isthmus.lab.apiserver.rest.options import ListOptions, list_options, truth
from isthmus.lab.apiserver.rest.pages import Pages
from isthmus.lab.apiserver.rest.reading import get_stored, list_body, list_table, object_table, read_page
from isthmus.lab.apiserver.rest.receiving import read_body
from isthmus.lab.apiserver.rest.services import Call, Services
from isthmus.lab.apiserver.rest.sight import Sight
from isthmus.lab.apiserver.rest.subresources import SUBRESOURCES
from isthmus.lab.apiserver.rest.tables import table_request
from isthmus.lab.apiserver.rest.target import attributes_of, find_target, parse_path, verb_of
from isthmus.lab.apiserver.rest.views import shown
from isthmus.lab.apiserver.rest.watching import WatchRequest, open_watch

log = structlog.get_logger("isthmus.lab.apiserver")

Answer = Response | Stream
PEER_CERTIFICATE = "isthmus.peer_certificate"
"""The key in the ASGI scope's ``extensions`` under which the transport puts the verified client certificate (DER)."""


class App:
    """Answers every request with what was asked or with a Status; never with a traceback."""

    def __init__(self, services: Services, *, body_within_s: float = 30.0) -> None:
        self._services = services
        self._body_within_s = body_within_s
        self._pages = Pages(services.registry)
        self._oauth = OAuth(services.logins, clock=services.clock, body_within_s=body_within_s)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        answer: ASGIApp
        try:
            answer = await self._answer(Request(scope, receive))
        except StatusError as error:
            answer = status_answer(error)
        except Exception as error:  # the outermost frame of a request: logged once, answered as a Status
            log.info("request failed", method=scope["method"], path=scope["path"], exc_info=error)
            answer = status_answer(
                StatusError(500, "InternalError", "Internal error occurred; the server's log says more")
            )
        await answer(scope, receive, send)

    async def _answer(self, request: Request) -> Answer:
        if (login := await self._oauth.answer(request)) is not None:
            return login
        certificate = request.scope.get("extensions", {}).get(PEER_CERTIFICATE)
        user = self._services.authenticator.request_user(request.headers.get("authorization", ""), certificate)
        user = self._impersonated(request, user)
        path = parse_path(request.scope["path"])
        if path is None:
            return self._page(request, user)
        query = dict(request.query_params)
        try:
            target = find_target(path, self._services.registry)
        except StatusError:
            self._authorize_path(request, user)
            if not self._services.registry.serves(path.group, path.version):
                return text_answer("404 page not found\n", status=404)
            raise
        verb = verb_of(request.method, target, watching=truth(query, "watch"))
        self._services.authorizer.require(user, attributes_of(verb, target))
        call = Call(
            method=request.method,
            verb=verb,
            target=target,
            query=query,
            accept=request.headers.get("accept", ""),
            content_type=request.headers.get("content-type", ""),
            user_agent=request.headers.get("user-agent", ""),
            body=await read_body(request, limit=BODY_LIMIT, within_s=self._body_within_s),
            user=user,
        )
        return await self._warned(call)

    async def _warned(self, call: Call) -> Answer:
        """The answer to a call, also when it is refused, with a warning if its version is deprecated."""
        answer: Answer
        try:
            answer = await self._call(call)
        except StatusError as error:
            answer = status_answer(error)
        if call.target.resource.deprecation and isinstance(answer, Response):
            warn(answer, [call.target.resource.deprecation])
        return answer

    def _impersonated(self, request: Request, user: User) -> User:
        """The user that a request wants to be seen as; whoever asks must be allowed to impersonate it."""
        name = request.headers.get("impersonate-user", "")
        groups = tuple(request.headers.getlist("impersonate-group"))
        if not name:
            if groups:
                raise StatusError(500, "InternalError", "requested groups without impersonating a user")
            return user
        for attributes in impersonations(name, groups):
            self._services.authorizer.require(user, attributes)
        return impersonated(name, groups)

    async def _call(self, call: Call) -> Answer:
        if not call.target.resource.kept:
            return await ANSWERS[call.target.resource.group_kind](self._services, call)
        if call.target.subresource and (special := SUBRESOURCES.get(call.target.subresource)):
            return await special(self._services, call)
        act = _ACTIONS[call.verb]
        if call.verb not in (
            *call.target.resource.verbs,
            *(("get", "update", "patch") if call.target.subresource else ()),
        ):
            raise method_not_allowed()
        return await act(self._services, call)

    def _page(self, request: Request, user: User) -> Response:
        self._authorize_path(request, user)
        return self._pages.answer(request.method, request.scope["path"], request.headers)

    def _authorize_path(self, request: Request, user: User) -> None:
        path = request.scope["path"]
        if path not in _PUBLIC:
            self._services.authorizer.require(user, Attributes(verb=request.method.lower(), path=path))


_PUBLIC = frozenset(("/healthz", "/readyz", "/livez", "/version"))


async def _get(services: Services, call: Call) -> Answer:
    stored = get_stored(services.store.state, call.target)
    tabular = table_request(call.accept, call.query.get("includeObject", ""))
    if tabular is not None:
        return json_answer(object_table(call.target.resource, stored, tabular, clock=services.clock))
    return json_answer(shown(call.target.resource, stored.data))


async def _list(services: Services, call: Call) -> Answer:
    options = list_options(call.query, call.target.resource)
    sight = _sight(services, call, options)
    page = read_page(services.store.state, call.target, options, sees=sight.sees if sight else None)
    tabular = table_request(call.accept, call.query.get("includeObject", ""))
    if tabular is not None:
        return json_answer(list_table(call.target.resource, page, tabular, clock=services.clock))
    return json_answer(list_body(call.target.resource, page))


async def _watch(services: Services, call: Call) -> Answer:
    tabular = table_request(call.accept, call.query.get("includeObject", ""))
    options = list_options(call.query, call.target.resource)
    sight = _sight(services, call, options)
    return open_watch(services.store.state, WatchRequest(call.target, options, tabular, services.clock, sight))


def _sight(services: Services, call: Call, options: ListOptions) -> Sight | None:
    """What limits who asks to a part of what there is; None for what is seen as a whole."""
    if call.target.resource != PROJECT:
        return None
    return Sight(call.user, services.store.state, services.authorizer, options.selection.name)


_ACTIONS: Mapping[str, Callable[[Services, Call], Awaitable[Answer]]] = {
    "get": _get,
    "list": _list,
    "watch": _watch,
    "create": writing.create,
    "update": writing.update,
    "patch": writing.patch,
    "delete": writing.delete,
    "deletecollection": writing.delete_collection,
}

__all__ = ["PEER_CERTIFICATE", "App", "page_not_found"]
