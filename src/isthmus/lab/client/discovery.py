"""Which resources a server has (Kubernetes API concepts, "Discovery API"), asked of it when it matters.

For the few parts that work on every kind there is: the garbage collector and the end of a namespace.
"""

from dataclasses import dataclass
from typing import Any

import httpx2
from lightkube.config import client_adapter
from lightkube.config.kubeconfig import SingleConfig


@dataclass(frozen=True, slots=True)
class ApiResource:
    """One kind as the server serves it."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool
    verbs: frozenset[str]

    @property
    def api_version(self) -> str:
        """``v1`` or ``group/version``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "") -> str:
        """The resource's path on the server, of all objects, of one namespace's, or of one object."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        inside = f"/namespaces/{namespace}" if namespace else ""
        return f"{root}{inside}/{self.plural}" + (f"/{name}" if name else "")


def http_client(config: SingleConfig, transport: httpx2.AsyncBaseTransport) -> httpx2.AsyncClient:
    """A plain HTTP client with the credentials of a kubeconfig; the caller closes it, and the transport with it."""
    params = client_adapter.ConnectionParams(trust_env=False, transport=transport)  # type: ignore[arg-type]  # of both
    client: httpx2.AsyncClient = client_adapter.AsyncClient(config, params)
    return client


async def discover(http: httpx2.AsyncClient) -> list[ApiResource]:
    """Every resource (no subresources) in its group's preferred version.

    Raises httpx2.HTTPError if the server can't be asked.
    """
    groups = (await _get(http, "/apis")).get("groups", [])
    found = _resources("", "v1", await _get(http, "/api/v1"))
    for group in groups:
        version = group["preferredVersion"]["version"]
        found += _resources(group["name"], version, await _get(http, f"/apis/{group['name']}/{version}"))
    return found


async def _get(http: httpx2.AsyncClient, path: str) -> dict[str, Any]:
    response = await http.get(path, headers={"Accept": "application/json"})
    response.raise_for_status()
    answer: dict[str, Any] = response.json()
    return answer


def _resources(group: str, version: str, listed: dict[str, Any]) -> list[ApiResource]:
    return [
        ApiResource(
            group=group,
            version=version,
            kind=entry["kind"],
            plural=entry["name"],
            namespaced=entry["namespaced"],
            verbs=frozenset(entry["verbs"]),
        )
        for entry in listed.get("resources", [])
        if "/" not in entry["name"]
    ]
