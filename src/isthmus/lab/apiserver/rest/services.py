"""What answering a request needs, in one value."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from isthmus.lab.apiserver.changes import Changes
from isthmus.lab.apiserver.identity.authenticate import Authenticator
from isthmus.lab.apiserver.identity.authorize import Authorizer
from isthmus.lab.apiserver.identity.login import Logins
from isthmus.lab.apiserver.identity.tokens import TokenKey
from isthmus.lab.apiserver.identity.user import User
from isthmus.lab.apiserver.kinds import Registry
from isthmus.lab.apiserver.objects import Object
from isthmus.lab.apiserver.rest.target import Target
from isthmus.lab.apiserver.storage import Store
from isthmus.lab.pod_logs import PodLogs


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of the server that requests are answered with."""

    registry: Registry
    store: Store
    changes: Changes
    authenticator: Authenticator
    authorizer: Authorizer
    tokens: TokenKey
    logins: Logins
    logs: PodLogs | None
    clock: Callable[[], datetime]
    stopping: asyncio.Event


@dataclass(frozen=True, slots=True)
class Call:
    """One authorized request to a resource: its target, its parameters, its body, who asks."""

    method: str
    verb: str
    target: Target
    query: dict[str, str]
    accept: str
    content_type: str
    user_agent: str
    body: bytes
    user: User


def home(services: Services, target: Target) -> Target:
    """The target in the API that its objects are stored in (events.k8s.io events are core events)."""
    if target.resource.view is None:
        return target
    resource = services.registry.by_storage(target.resource.storage)
    if resource is None:
        raise LookupError(f"nothing is stored as {target.resource.storage}")
    return Target(resource, target.namespace, target.name, target.subresource)


__all__ = ["Call", "Object", "Services", "home"]
