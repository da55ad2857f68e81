"""From a request's credentials to its user.

Fails closed: a credential that is given and not good is refused, never taken for none.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from datetime import datetime

from isthmus.lab.apiserver.errors import unauthorized
from isthmus.lab.apiserver.identity.authority import certificate_user
from isthmus.lab.apiserver.identity.login import Logins
from isthmus.lab.apiserver.identity.tokens import API_AUDIENCES, Claims, TokenKey, TokenRefusedError, check_time
from isthmus.lab.apiserver.identity.user import ADMIN, ANONYMOUS, User, service_account
from isthmus.lab.apiserver.objects import Key
from isthmus.lab.apiserver.storage.state import State

REMEMBERED = 1024


class Authenticator:
    """Checks bearer tokens and client certificates."""

    def __init__(
        self, *, state: State, tokens: TokenKey, logins: Logins, admin_token: str, clock: Callable[[], datetime]
    ) -> None:
        self._state = state
        self._tokens = tokens
        self._logins = logins
        self._admin_token = admin_token.encode()
        self._clock = clock
        self._claims: dict[bytes, Claims] = {}
        self._certificates: dict[bytes, User | None] = {}

    def request_user(self, authorization: str, certificate: bytes | None) -> User:
        """The user of a request. Raises StatusError (401) for a credential that is not good."""
        if authorization:
            scheme, _, token = authorization.partition(" ")
            if scheme.lower() != "bearer" or not token.strip():
                raise unauthorized()
            try:
                return self.token_user(token.strip(), audiences=API_AUDIENCES)
            except TokenRefusedError as error:
                raise unauthorized() from error
        if certificate is not None:
            return self._certificate_user(certificate)
        return ANONYMOUS

    def token_user(self, token: str, *, audiences: tuple[str, ...]) -> User:
        """The user of a token that is good for one of the audiences. Raises TokenRefusedError."""
        if hmac.compare_digest(token.encode(), self._admin_token):
            return ADMIN
        if (user := self._logins.token_user(token, now=self._clock())) is not None:
            if not set(audiences) & set(API_AUDIENCES):
                raise TokenRefusedError(f"the token is for the API server, expected one of {list(audiences)}")
            return user
        claims = self._verified(token)
        if not set(audiences) & set(claims.aud):
            raise TokenRefusedError(f"the token is for the audiences {claims.aud}, expected one of {list(audiences)}")
        return self._account(claims)

    def audiences(self, token: str) -> tuple[str, ...]:
        """What a good token is for. Raises TokenRefusedError."""
        if hmac.compare_digest(token.encode(), self._admin_token) or self._logins.token_user(token, now=self._clock()):
            return API_AUDIENCES
        return tuple(self._verified(token).aud)

    def _verified(self, token: str) -> Claims:
        """The claims; a signature is checked once, the time always."""
        digest = hashlib.sha256(token.encode()).digest()
        claims = self._claims.get(digest)
        if claims is not None:
            check_time(claims, now=self._clock())
            return claims
        claims = self._tokens.verify(token, now=self._clock())
        if len(self._claims) >= REMEMBERED:
            self._claims.clear()
        self._claims[digest] = claims
        return claims

    def _account(self, claims: Claims) -> User:
        """The account, if it and whatever the token is bound to are still the ones it was made for."""
        bound = claims.binding
        self._require(Key("serviceaccounts", bound.namespace, bound.serviceaccount.name), bound.serviceaccount.uid)
        extra = {"authentication.kubernetes.io/credential-id": (f"JTI={claims.jti}",)}
        if bound.pod is not None:
            self._require(Key("pods", bound.namespace, bound.pod.name), bound.pod.uid)
            extra["authentication.kubernetes.io/pod-name"] = (bound.pod.name,)
            extra["authentication.kubernetes.io/pod-uid"] = (bound.pod.uid,)
        if bound.secret is not None:
            self._require(Key("secrets", bound.namespace, bound.secret.name), bound.secret.uid)
        return service_account(bound.namespace, bound.serviceaccount.name, uid=bound.serviceaccount.uid, extra=extra)

    def _require(self, key: Key, uid: str) -> None:
        stored = self._state.get(key)
        if stored is None or stored.uid != uid:
            raise TokenRefusedError(f"the token is bound to {key.resource} '{key.namespace}/{key.name}', which is gone")

    def _certificate_user(self, certificate: bytes) -> User:
        if certificate not in self._certificates:
            if len(self._certificates) >= REMEMBERED:
                self._certificates.clear()
            self._certificates[certificate] = certificate_user(certificate)
        user = self._certificates[certificate]
        if user is None:
            raise unauthorized()
        return user
