"""Login with a password: from the password to a code, from the code to a token. Pure; chance and time come in.

One user has a password: ``kubeadmin``, an administrator. A code is good once, for a minute, for who can prove to have
begun (PKCE, S256). A token carries its own end, is signed, and ends with the password that it was made with.
Source: RFC 6749 §4.1, RFC 7636, RFC 7617; OpenShift's documentation, "Configuring the internal OAuth server".
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from isthmus.lab.apiserver.identity.tokens import base64url
from isthmus.lab.apiserver.identity.user import AUTHENTICATED, LOGGED_IN, MASTERS, User

CLIENT = "openshift-challenging-client"
NAME = "kubeadmin"
CODE_LIFETIME = timedelta(seconds=60)
TOKEN_LIFETIME = timedelta(hours=24)
CODES_LIMIT = 256
_PREFIX = "login~"
_TOKEN = re.compile(r"login~([0-9]{1,12})\.([A-Za-z0-9_-]{43})")
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")


class LoginRefusedError(ValueError):
    """Whoever wants to log in gave something that is not good; the message is RFC 6749's word for it."""


@dataclass(frozen=True, slots=True)
class _Begun:
    challenge: str
    redirect_uri: str
    ends: datetime


@dataclass(slots=True)
class Logins:
    """The password, and the codes that are out."""

    password: str = field(repr=False)
    secret: bytes = field(repr=False)
    _codes: dict[str, _Begun] = field(default_factory=dict, repr=False)

    def is_password(self, name: str, password: str) -> bool:
        """Whether these are the credentials of the one user who has some."""
        right = hmac.compare_digest(password.encode(), self.password.encode())
        return hmac.compare_digest(name.encode(), NAME.encode()) and right

    def issue_code(self, code: str, *, challenge: str, redirect_uri: str, now: datetime) -> None:
        """Remember a code, made at random by the caller. Raises LoginRefusedError."""
        if not _CHALLENGE.fullmatch(challenge):
            raise LoginRefusedError("invalid_request")
        self._codes = {one: begun for one, begun in self._codes.items() if begun.ends > now}
        if len(self._codes) >= CODES_LIMIT:
            raise LoginRefusedError("temporarily_unavailable")
        self._codes[code] = _Begun(challenge, redirect_uri, now + CODE_LIFETIME)

    def redeem(self, code: str, *, verifier: str, redirect_uri: str, now: datetime) -> str:
        """The token for a code, which is used up whatever comes of it. Raises LoginRefusedError."""
        begun = self._codes.pop(code, None)
        if begun is None or begun.ends <= now or begun.redirect_uri != redirect_uri:
            raise LoginRefusedError("invalid_grant")
        if not hmac.compare_digest(base64url(hashlib.sha256(verifier.encode()).digest()), begun.challenge):
            raise LoginRefusedError("invalid_grant")
        ends = int((now + TOKEN_LIFETIME).timestamp())
        return f"{_PREFIX}{ends}.{self._signature(ends)}"

    def token_user(self, token: str, *, now: datetime) -> User | None:
        """Who a token is for; None if it is none of ours, or over."""
        parts = _TOKEN.fullmatch(token)
        if parts is None or not hmac.compare_digest(parts[2], self._signature(int(parts[1]))):
            return None
        return User("kube:admin", (MASTERS, AUTHENTICATED, LOGGED_IN)) if now.timestamp() < int(parts[1]) else None

    def _signature(self, ends: int) -> str:
        message = f"{NAME}\0{ends}\0{hashlib.sha256(self.password.encode()).hexdigest()}"
        return base64url(hmac.digest(self.secret, message.encode(), "sha256"))
