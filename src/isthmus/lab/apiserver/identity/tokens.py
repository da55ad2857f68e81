"""Service account tokens: signed JWTs, bound to their account and perhaps to a pod. Pure, but for the key's file.

Source: RFC 7519, RFC 7518 (ES256); Kubernetes documentation, "Managing Service Accounts: Bound service account tokens".
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from isthmus.lab.apiserver.base64_text import decode_base64url
from isthmus.lab.apiserver.identity.authority import private_pem, read_key, write_private

ISSUER = "https://kubernetes.default.svc.cluster.local"
API_AUDIENCES = (ISSUER,)
TOKEN_LIMIT = 16 * 1024
EARLY_S = 60


class TokenRefusedError(ValueError):
    """The token is not one of ours, is over, or is for somebody else; the message says which."""


class Named(msgspec.Struct, frozen=True):
    """An object that a token is bound to."""

    name: str
    uid: str


class Binding(msgspec.Struct, frozen=True):
    """The ``kubernetes.io`` claim."""

    namespace: str
    serviceaccount: Named
    pod: Named | None = None
    secret: Named | None = None


class Claims(msgspec.Struct, frozen=True, rename={"binding": "kubernetes.io"}):
    """What a token says."""

    iss: str
    sub: str
    aud: list[str]
    iat: int
    nbf: int
    exp: int
    jti: str
    binding: Binding


@dataclass(frozen=True, slots=True)
class Grant:
    """A token that is to be made."""

    binding: Binding
    audiences: Sequence[str]
    lifetime: timedelta


class TokenKey:
    """Signs and checks tokens with one ES256 key."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        self._public = key.public_key()
        der = self._public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.key_id = base64url(hashlib.sha256(der).digest())

    def sign(self, grant: Grant, *, now: datetime) -> tuple[str, datetime]:
        """A token and the moment when it expires."""
        expires = now + grant.lifetime
        account = grant.binding.serviceaccount.name
        claims = Claims(
            iss=ISSUER,
            sub=f"system:serviceaccount:{grant.binding.namespace}:{account}",
            aud=list(grant.audiences),
            iat=int(now.timestamp()),
            nbf=int(now.timestamp()),
            exp=int(expires.timestamp()),
            jti=str(uuid.uuid4()),
            binding=grant.binding,
        )
        return self._signed(claims), expires

    def _signed(self, claims: Claims) -> str:
        header = base64url(msgspec.json.encode({"alg": "ES256", "kid": self.key_id, "typ": "JWT"}))
        body = f"{header}.{base64url(msgspec.json.encode(claims))}"
        r, s = decode_dss_signature(self._key.sign(body.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{body}.{base64url(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def verify(self, token: str, *, now: datetime) -> Claims:
        """What a token of ours says. Raises TokenRefusedError: malformed, not signed by us, expired, not valid yet."""
        claims = self._checked(token)
        if claims.iss != ISSUER:
            raise TokenRefusedError(f"the token's issuer is '{claims.iss}', expected '{ISSUER}'")
        check_time(claims, now=now)
        return claims

    def _checked(self, token: str) -> Claims:
        try:
            if len(token) > TOKEN_LIMIT:
                raise TokenRefusedError("the token is too long")
            header, claims, signature = token.split(".")
            algorithm = msgspec.json.decode(decode_base64url(header), type=dict[str, Any]).get("alg")
            raw = decode_base64url(signature)
            if algorithm != "ES256" or len(raw) != 64:
                raise TokenRefusedError("the token's signature is not ES256")
            der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
            self._public.verify(der, f"{header}.{claims}".encode(), ec.ECDSA(hashes.SHA256()))
            return msgspec.json.decode(decode_base64url(claims), type=Claims)
        except TokenRefusedError:
            raise
        except InvalidSignature as error:
            raise TokenRefusedError("the token is not signed by this cluster") from error
        except (ValueError, msgspec.MsgspecError) as error:
            raise TokenRefusedError("the token is malformed") from error


def check_time(claims: Claims, *, now: datetime) -> None:
    """Raises TokenRefusedError: expired, not valid yet; at its beginning clocks may differ by a minute."""
    if now.timestamp() >= claims.exp:
        raise TokenRefusedError("the token has expired")
    if now.timestamp() < claims.nbf - EARLY_S:
        raise TokenRefusedError("the token is not valid yet")


def base64url(data: bytes) -> str:
    """Without padding. Source: RFC 7515 §2."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def load_token_key(path: Path) -> TokenKey:
    """The signing key kept in a file; made there the first time. Blocks on files. Raises SecretUnusableError."""
    if not path.exists():
        write_private(path, private_pem(ec.generate_private_key(ec.SECP256R1())))
    return TokenKey(read_key(path))
