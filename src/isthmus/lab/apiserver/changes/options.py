"""What a write asks for besides its object. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from isthmus.lab.apiserver.identity.user import User


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """``manager`` owns the fields that are written; ``validation``: Ignore, Warn or Strict for unknown fields.

    ``api_version`` is the version that the client writes through ("" = the stored one), ``subresource`` the part of the
    object that it writes ("" = all but the status), ``applied`` that its ownership is already noted. ``user`` is who
    writes (None = the server itself).
    """

    manager: str = "unknown"
    dry_run: bool = False
    validation: str = "Ignore"
    force: bool = False
    api_version: str = ""
    subresource: str = ""
    applied: bool = False
    user: User | None = None


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """``grace_s`` None: the object's own. ``uid`` and ``revision``: preconditions, "" = none."""

    grace_s: int | None = None
    uid: str = ""
    revision: str = ""
    dry_run: bool = False
    propagation: str = ""
