"""The pages of the OAuth server that ``oc login -u … -p …`` asks, in the order in which it does.

They are answered before anybody is authenticated: to authenticate is what they are for.
Source: RFC 8414, RFC 6749 §4.1 and §5, RFC 7636; OpenShift's documentation, "OAuth token requests".
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from datetime import datetime
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import Response

from isthmus.lab.apiserver.base64_text import decode_base64
from isthmus.lab.apiserver.errors import StatusError, bad_request, method_not_allowed, unauthorized
from isthmus.lab.apiserver.identity.login import CLIENT, TOKEN_LIFETIME, LoginRefusedError, Logins
from isthmus.lab.apiserver.objects import encode_json
from isthmus.lab.apiserver.rest.receiving import read_body

METADATA = "/.well-known/oauth-authorization-server"
AUTHORIZE, TOKEN, IMPLICIT = "/oauth/authorize", "/oauth/token", "/oauth/token/implicit"  # paths
FORM_LIMIT = 16 * 1024
FIELDS_LIMIT = 32
_HOST = re.compile(r"[A-Za-z0-9.:\[\]-]{1,255}")


class OAuth:
    """Answers the pages of a login; anything else is for others."""

    def __init__(self, logins: Logins, *, clock: Callable[[], datetime], body_within_s: float) -> None:
        self._logins = logins
        self._clock = clock
        self._body_within_s = body_within_s

    async def answer(self, request: Request) -> Response | None:
        """The answer, or None if the path is none of ours. Raises StatusError."""
        match request.scope["path"], request.method:
            case (path, "GET") if path == METADATA:
                return _json(_metadata(_issuer(request)))
            case (path, "GET") if path == AUTHORIZE:
                return self._authorize(request)
            case (path, "POST") if path == TOKEN:
                body = await read_body(request, limit=FORM_LIMIT, within_s=self._body_within_s)
                return self._token(request, _form(body))
            case (path, _) if path in (METADATA, AUTHORIZE, TOKEN):
                raise method_not_allowed()
        return None

    def _authorize(self, request: Request) -> Response:
        """A code for a password. Raises StatusError: 400 for another client or way than ours, 401 without password."""
        query, redirect_uri = request.query_params, _issuer(request) + IMPLICIT
        wanted = {"client_id": CLIENT, "response_type": "code", "code_challenge_method": "S256"}
        wrong = [name for name, value in wanted.items() if query.get(name) != value]
        if wrong or query.get("redirect_uri", redirect_uri) != redirect_uri:
            raise bad_request(f"Logging in: {', '.join(wrong) or 'redirect_uri'} is not what this server supports")
        # A browser can't be made to send this header by a foreign page.
        if not request.headers.get("x-csrf-token"):
            raise StatusError(401, "Unauthorized", "A non-empty X-CSRF-Token header is required")
        if not self._logins.is_password(*_basic(request)):
            raise StatusError(401, "Unauthorized", "Unauthorized", headers={"WWW-Authenticate": 'Basic realm="lab"'})
        code = secrets.token_urlsafe(32)
        challenge = query.get("code_challenge", "")
        try:
            self._logins.issue_code(code, challenge=challenge, redirect_uri=redirect_uri, now=self._clock())
        except LoginRefusedError as error:
            raise bad_request(f"Logging in: {error}") from error
        answer = {"code": code, **({"state": query["state"]} if "state" in query else {})}
        return Response(status_code=302, headers={"Location": f"{redirect_uri}?{urlencode(answer)}", **_NOT_KEPT})

    def _token(self, request: Request, form: dict[str, str]) -> Response:
        """A token for a code."""
        if _basic(request) != (CLIENT, ""):
            return _json({"error": "invalid_client"}, status=401)
        if form.get("grant_type") != "authorization_code":
            return _json({"error": "unsupported_grant_type"}, status=400)
        given = {"verifier": form.get("code_verifier", ""), "redirect_uri": form.get("redirect_uri", "")}
        try:
            token = self._logins.redeem(form.get("code", ""), **given, now=self._clock())
        except LoginRefusedError as error:
            return _json({"error": str(error)}, status=400)
        lifetime_s = int(TOKEN_LIFETIME.total_seconds())
        return _json({"access_token": token, "token_type": "Bearer", "expires_in": lifetime_s, "scope": "user:full"})


_NOT_KEPT = {"Cache-Control": "no-store"}


def _json(content: object, *, status: int = 200) -> Response:
    return Response(encode_json(content), status, _NOT_KEPT, "application/json")


def _metadata(issuer: str) -> dict[str, object]:
    return {
        "issuer": issuer,
        "authorization_endpoint": issuer + AUTHORIZE,
        "token_endpoint": issuer + TOKEN,
        "scopes_supported": ["user:full"],
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code"],
        "code_challenge_methods_supported": ["S256"],
    }


def _issuer(request: Request) -> str:
    """The server as this client reaches it."""
    host = request.headers.get("host", "")
    if not _HOST.fullmatch(host):
        raise bad_request("Logging in: the request's Host is no host and port")
    return f"https://{host}"


def _basic(request: Request) -> tuple[str, str]:
    """Name and password of the request, empty without. Raises StatusError (401) if they can't be read."""
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        name, _, password = decode_base64(encoded.strip()).decode().partition(":")
    except ValueError as error:
        raise unauthorized() from error
    return name, password


def _form(body: bytes) -> dict[str, str]:
    """A form's fields. Raises StatusError (400) if it has too many."""
    try:
        return dict(parse_qsl(body.decode(errors="replace"), max_num_fields=FIELDS_LIMIT))
    except ValueError as error:
        raise bad_request(f"Logging in: the form has more than {FIELDS_LIMIT} fields") from error
