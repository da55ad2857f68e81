"""The paths that are no resources: health, version, discovery, OpenAPI. Kept ready until the registry changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from starlette.responses import Response

from isthmus.lab.apiserver.errors import method_not_allowed, not_acceptable
from isthmus.lab.apiserver.kinds import Registry
from isthmus.lab.apiserver.kinds.resource import version_path
from isthmus.lab.apiserver.objects import encode_json
from isthmus.lab.apiserver.rest import discovery, openapi, openapi_v2
from isthmus.lab.apiserver.rest.answers import json_answer, text_answer

VERSION = {
    "major": "1",
    "minor": "33",
    "emulationMajor": "1",
    "emulationMinor": "33",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "32",
    "gitVersion": "v1.33.13+isthmus",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "cpython",
    "platform": "linux/amd64",
}
"""The Kubernetes version whose API this server speaks."""

_HEALTH = frozenset(("/healthz", "/readyz", "/livez"))


class Pages:
    """Answers paths outside of resources."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._generation = 0
        self._documents: dict[str, bytes] = {}
        self._ready: dict[str, bytes] = {}

    def answer(self, method: str, path: str, headers: Mapping[str, str]) -> Response:
        """Raises StatusError (405) for other methods than GET and HEAD."""
        if path != "/" and path.endswith("/"):
            path = path.rstrip("/")
        if method not in ("GET", "HEAD"):
            raise method_not_allowed()
        if path in _HEALTH:
            return text_answer("ok")
        if path == "/version":
            return json_answer(VERSION)
        self._refresh()
        if path in ("/api", "/apis") and (version := discovery.aggregated_version(headers.get("accept", ""))):
            return self._aggregated(path, version, headers)
        if path == "/openapi/v2":
            return self._openapi_v2(headers)
        if path.startswith("/openapi/v3"):
            return self._openapi(path, headers)
        return self._plain(path)

    def _refresh(self) -> None:
        if self._generation != self._registry.generation:
            self._generation = self._registry.generation
            self._documents = {}
            self._ready = {}

    def _kept(self, name: str, make: Callable[[], Any]) -> bytes:
        if name not in self._ready:
            self._ready[name] = encode_json(make())
        return self._ready[name]

    def _aggregated(self, path: str, version: str, headers: Mapping[str, str]) -> Response:
        make = lambda: discovery.aggregated(self._registry, core=path == "/api", version=version)  # noqa: E731
        document = self._kept(f"{path} {version}", make)
        return _tagged(document, headers, media_type=discovery.AGGREGATED_TYPE.format(version=version))

    def _openapi(self, path: str, headers: Mapping[str, str]) -> Response:
        if not self._documents:
            self._documents = openapi.documents(self._registry)
        name = path.removeprefix("/openapi/v3").strip("/")
        if not name:
            return _tagged(self._kept("/openapi/v3", lambda: openapi.root(self._documents)), headers)
        if name not in self._documents:
            return text_answer("404 page not found\n", status=404)
        response = _tagged(self._documents[name], headers)
        response.headers["Cache-Control"] = "public, immutable"
        return response

    def _openapi_v2(self, headers: Mapping[str, str]) -> Response:
        """Raises StatusError (406) for another form than protobuf."""
        if not openapi_v2.accepts(headers.get("accept", "")):
            raise not_acceptable([openapi_v2.MEDIA_TYPE])
        if "/openapi/v2" not in self._ready:
            self._ready["/openapi/v2"] = openapi_v2.document(self._registry.resources)
        return _tagged(self._ready["/openapi/v2"], headers, media_type=openapi_v2.MEDIA_TYPE)

    def _plain(self, path: str) -> Response:
        make = self._plain_pages().get(path)
        if make is None:
            return text_answer("404 page not found\n", status=404)
        return json_answer(self._kept(path, make))

    def _plain_pages(self) -> dict[str, Callable[[], Any]]:
        registry = self._registry
        pages: dict[str, Callable[[], Any]] = {
            "/api": discovery.core_versions,
            "/apis": lambda: discovery.api_groups(registry),
        }
        for group, versions in registry.versions():
            names = [name for name, _ in versions]
            if group:
                pages[f"/apis/{group}"] = partial(discovery.api_group_page, group, names)
            for version, resources in versions:
                pages[f"/{version_path(group, version)}"] = partial(discovery.api_resources, group, version, resources)
        pages["/"] = lambda: {"paths": sorted([*pages, "/openapi/v2", "/openapi/v3", "/version", *_HEALTH])}
        return pages


def _tagged(document: bytes, headers: Mapping[str, str], *, media_type: str = "application/json") -> Response:
    """A document with its ETag, or 304 when the client has it."""
    tag = discovery.etag(document)
    common = {"ETag": tag, "Vary": "Accept", "Cache-Control": "public"}
    if headers.get("if-none-match", "") == tag:
        return Response(status_code=304, headers=common)
    return Response(document, 200, common, media_type)
