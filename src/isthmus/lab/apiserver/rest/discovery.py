"""Discovery: which groups, versions and resources there are; plain and aggregated. Pure.

Source: Kubernetes documentation, "Kubernetes API: Discovery API"; apidiscovery.k8s.io/v2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from isthmus.lab.apiserver.kinds import Registry, Resource
from isthmus.lab.apiserver.kinds.builtin import SUBRESOURCE_KINDS, SUBRESOURCE_VERBS, spoken_kind

AGGREGATED_TYPE = "application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"


def aggregated_version(accept: str) -> str:
    """The version of the aggregated form that a client prefers, "" for the plain form."""
    for offer in accept.split(","):
        parameters = dict(part.strip().partition("=")[::2] for part in offer.split(";")[1:])
        if parameters.get("as") == "APIGroupDiscoveryList" and parameters.get("v") in ("v2", "v2beta1"):
            return parameters["v"]
        if offer.strip() in ("application/json", "*/*"):
            return ""
    return ""


def etag(document: bytes) -> str:
    return f'"{hashlib.sha256(document).hexdigest()[:32].upper()}"'


def group_versions(group: str, version: str) -> str:
    return f"{group}/{version}" if group else version


def core_versions() -> dict[str, Any]:
    """``GET /api``."""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def api_groups(registry: Registry) -> dict[str, Any]:
    """``GET /apis``."""
    groups = [api_group(group, [name for name, _ in versions]) for group, versions in registry.versions() if group]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def api_group(group: str, versions: Sequence[str]) -> dict[str, Any]:
    """A group and its versions, as lists of groups show it."""
    listed = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": listed, "preferredVersion": listed[0]}


def api_group_page(group: str, versions: Sequence[str]) -> dict[str, Any]:
    """``GET /apis/GROUP``."""
    return {"kind": "APIGroup", "apiVersion": "v1", **api_group(group, versions)}


def api_resources(group: str, version: str, resources: Sequence[Resource]) -> dict[str, Any]:
    """``GET /api/v1``, ``GET /apis/GROUP/VERSION``."""
    listed = [one for resource in resources for one in (_plain(resource), *_plain_subresources(resource))]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_versions(group, version),
        "resources": listed,
    }


def _plain(resource: Resource) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    return entry


def _plain_subresources(resource: Resource) -> list[dict[str, Any]]:
    entries = []
    for name in sorted(resource.subresources):
        group, version, kind = spoken_kind(resource, name)
        entry: dict[str, Any] = {
            "name": f"{resource.plural}/{name}",
            "singularName": "",
            "namespaced": resource.namespaced,
            "kind": kind,
            "verbs": list(SUBRESOURCE_VERBS[name]),
        }
        if name in SUBRESOURCE_KINDS:
            entry |= {"group": group, "version": version}
        entries.append(entry)
    return entries


def aggregated(registry: Registry, *, core: bool, version: str) -> dict[str, Any]:
    """``GET /api`` (core) or ``GET /apis`` in the aggregated form."""
    items = [
        {
            "metadata": {"name": group, "creationTimestamp": None} if group else {"creationTimestamp": None},
            "versions": [
                {"version": name, "resources": [_aggregated(one) for one in resources], "freshness": "Current"}
                for name, resources in versions
            ],
        }
        for group, versions in registry.versions()
        if bool(group) != core
    ]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{version}",
        "metadata": {},
        "items": items,
    }


def _aggregated(resource: Resource) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "resource": resource.plural,
        "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if resource.subresources:
        entry["subresources"] = [_aggregated_sub(resource, name) for name in sorted(resource.subresources)]
    return entry


def _aggregated_sub(resource: Resource, name: str) -> dict[str, Any]:
    group, version, kind = spoken_kind(resource, name)
    return {
        "subresource": name,
        "responseKind": {"group": group, "version": version, "kind": kind},
        "verbs": list(SUBRESOURCE_VERBS[name]),
    }
