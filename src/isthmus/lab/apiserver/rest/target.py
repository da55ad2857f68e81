"""What a path points at. Pure.

Source: Kubernetes API concepts, "Resource URIs".
"""

from __future__ import annotations

from dataclasses import dataclass

from isthmus.lab.apiserver.errors import StatusError, page_not_found
from isthmus.lab.apiserver.identity.rbac import Attributes
from isthmus.lab.apiserver.kinds import Registry, Resource


@dataclass(frozen=True, slots=True)
class Target:
    """A resource, perhaps in a namespace, perhaps one object of it, perhaps one of its subresources."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""


@dataclass(frozen=True, slots=True)
class ResourcePath:
    """A path under ``/api`` or ``/apis`` taken apart; nothing is known of whether it exists."""

    group: str
    version: str
    plural: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""


STREAMS = frozenset(("attach", "exec", "portforward"))
NO_STREAMS = (
    "a lab has no streams into its pods (exec, attach, cp, port-forward): they are processes of its own machine,"
    " to be reached at their status.podIP"
)
_ON_NAMESPACE_ITSELF = frozenset(("status", "finalize"))


def parse_path(path: str) -> ResourcePath | None:
    """Take a resource's path apart; None when it is no such path."""
    parts = path.strip("/").split("/")
    if parts[0] == "api":
        group, version, rest = "", parts[1] if len(parts) > 1 else "", parts[2:]
    elif parts[0] == "apis" and len(parts) > 2:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    if not rest or not all(rest) or len(rest) > 5:
        return None
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and not (len(rest) == 3 and rest[2] in _ON_NAMESPACE_ITSELF):
        namespace, rest = rest[1], rest[2:]
    if len(rest) > 3:
        return None
    plural, name, subresource = (*rest, "", "")[:3]
    return ResourcePath(group, version, plural, namespace, name, subresource)


def find_target(path: ResourcePath, registry: Registry) -> Target:
    """The target of a path. Raises StatusError (404) when nothing is served there.

    Streams of pods are found, so that they are authorized like others and then refused (``NO_STREAMS``).
    """
    resource = registry.at(path.group, path.version, path.plural)
    if resource is None:
        raise page_not_found()
    streams = STREAMS if resource.storage == "pods" else frozenset[str]()
    if path.subresource and path.subresource not in resource.subresources | streams:
        raise page_not_found()
    if bool(path.namespace) and not resource.namespaced:
        raise page_not_found()
    return Target(resource, path.namespace, path.name, path.subresource)


def verb_of(method: str, target: Target, *, watching: bool) -> str:
    """The verb of a request as authorization names it. Raises StatusError (405) for a method without one."""
    one = bool(target.name)
    verb = {
        "GET": "get" if one else ("watch" if watching else "list"),
        "HEAD": "get" if one else "list",
        "POST": "create" if not one or target.subresource else "",
        "PUT": "update" if one else "",
        "PATCH": "patch" if one else "",
        "DELETE": "delete" if one else "deletecollection",
    }.get(method, "")
    if not verb:
        raise StatusError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
    return verb


def attributes_of(verb: str, target: Target) -> Attributes:
    """What authorization judges of doing something to a target."""
    return Attributes(
        verb=verb,
        group=target.resource.group,
        resource=target.resource.plural,
        subresource=target.subresource,
        namespace=target.namespace or (target.name if target.resource.storage == "namespaces" else ""),
        name=target.name,
    )
