"""Trust domains and SPIFFE ids.

Source: SPIFFE-ID §2 (the URI), §2.1 (trust domain), §2.2 (path), §2.4 (lengths). Names are compared as they are
written: the specification has them lower case, and upper case is refused rather than folded.
"""

import re
from dataclasses import dataclass
from typing import Self

from isthmus.identity.errors import InvalidSpiffeIdError, InvalidTrustDomainError

SCHEME = "spiffe://"
MAX_TRUST_DOMAIN_BYTES = 255
MAX_SPIFFE_ID_BYTES = 2048

_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]+")
_SEGMENT = re.compile(r"[a-zA-Z0-9._-]+")
_SHOWN_CHARACTERS = 120


@dataclass(frozen=True, slots=True, order=True)
class TrustDomain:
    """The name of a trust domain; one that exists is valid (SPIFFE-ID §2.1).

    Raises InvalidTrustDomainError: the name is empty, longer than 255 bytes, or has a character other than
    ``a-z 0-9 . - _``.
    """

    name: str

    def __post_init__(self) -> None:
        if not self.name:
            raise InvalidTrustDomainError("Invalid trust domain '': expected a name such as red-mesh.local")
        if len(self.name.encode()) > MAX_TRUST_DOMAIN_BYTES:
            raise InvalidTrustDomainError(
                f"Invalid trust domain {_shown(self.name)}: longer than {MAX_TRUST_DOMAIN_BYTES} bytes"
            )
        if not _TRUST_DOMAIN.fullmatch(self.name):
            raise InvalidTrustDomainError(
                f"Invalid trust domain {_shown(self.name)}: only a-z, 0-9, '.', '-' and '_' are allowed"
            )

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, order=True)
class SpiffeId:
    """``spiffe://<trust domain><path>``; one that exists is valid (SPIFFE-ID §2).

    ``path`` is empty (the id of the trust domain itself) or starts with a slash. Raises InvalidSpiffeIdError for a path
    with an empty segment, a ``.`` or ``..`` segment, a trailing slash or a character that §2.2 does not allow.
    """

    trust_domain: TrustDomain
    path: str = ""

    def __post_init__(self) -> None:
        _check_path(self.path)
        if len(str(self)) > MAX_SPIFFE_ID_BYTES:
            raise InvalidSpiffeIdError(
                f"Invalid SPIFFE id {_shown(str(self))}: longer than {MAX_SPIFFE_ID_BYTES} bytes"
            )

    def __str__(self) -> str:
        return SCHEME + self.without_scheme

    @property
    def without_scheme(self) -> str:
        """The id as ``spec.security.clientID`` of a peer writes it: ``<trust domain>/ns/…/sa/…``."""
        return self.trust_domain.name + self.path

    @classmethod
    def parse(cls, uri: str) -> Self:
        """Read ``spiffe://<trust domain>/<path>``.

        Raises InvalidSpiffeIdError: another scheme, a port, user, query or fragment, or a path against §2.2;
        InvalidTrustDomainError: the trust domain is against §2.1.
        """
        if not uri.startswith(SCHEME):
            raise InvalidSpiffeIdError(f"Invalid SPIFFE id {_shown(uri)}: does not start with {SCHEME}")
        return cls._from_remainder(uri.removeprefix(SCHEME))

    @classmethod
    def from_client_id(cls, client_id: str) -> Self:
        """Read the form without scheme, ``<trust domain>/ns/<namespace>/sa/<service account>``.

        Raises InvalidSpiffeIdError: the scheme is there, nothing follows the trust domain, or the path is against §2.2;
        InvalidTrustDomainError: the trust domain is against §2.1.
        """
        if "://" in client_id:
            raise InvalidSpiffeIdError(
                f"Invalid client id {_shown(client_id)}: expected it without the scheme, {SCHEME}"
            )
        if "/" not in client_id:
            raise InvalidSpiffeIdError(
                f"Invalid client id {_shown(client_id)}: "
                "expected <trust domain>/ns/<namespace>/sa/<service account>, found no '/'"
            )
        return cls._from_remainder(client_id)

    @classmethod
    def service_account(cls, trust_domain: TrustDomain, *, namespace: str, account: str) -> Self:
        """The id of a Kubernetes service account, ``spiffe://<trust domain>/ns/<namespace>/sa/<account>``."""
        for name in (namespace, account):
            if "/" in name or not name:
                raise InvalidSpiffeIdError(f"Invalid SPIFFE id: {_shown(name)} is not a namespace or service account")
        return cls(trust_domain, f"/ns/{namespace}/sa/{account}")

    @classmethod
    def _from_remainder(cls, remainder: str) -> Self:
        domain, slash, path = remainder.partition("/")
        return cls(TrustDomain(domain), slash + path)


def _check_path(path: str) -> None:
    if not path:
        return
    if not path.startswith("/"):
        raise InvalidSpiffeIdError(f"Invalid SPIFFE id path {_shown(path)}: does not start with '/'")
    for segment in path[1:].split("/"):
        if not segment:
            raise InvalidSpiffeIdError(
                f"Invalid SPIFFE id path {_shown(path)}: has an empty segment or a trailing slash"
            )
        if segment in {".", ".."}:
            raise InvalidSpiffeIdError(f"Invalid SPIFFE id path {_shown(path)}: has the relative segment {segment!r}")
        if not _SEGMENT.fullmatch(segment):
            raise InvalidSpiffeIdError(
                f"Invalid SPIFFE id path {_shown(path)}: only a-z, A-Z, 0-9, '.', '-' and '_' are allowed in a segment"
            )


def _shown(value: str) -> str:
    """``value`` quoted for a message, shortened, with control characters escaped."""
    return ascii(value if len(value) <= _SHOWN_CHARACTERS else value[:_SHOWN_CHARACTERS] + "...")
