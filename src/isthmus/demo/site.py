"""One cluster with its mesh: its files, which tell what it shares and calls, and kubectl."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from isthmus.demo.commands import CommandError, Kubectl
from isthmus.demo.report import PeerReport

_FIRST = ("namespaces.yaml", "smcp.yaml")
_FEDERATION = ("servicemeshpeer*.yaml", "exportedserviceset*.yaml", "importedserviceset*.yaml")
_CLIENT = ("-n", "bookinfo", "deploy/client")


class UnknownMeshesError(Exception):
    """There is no example with just these meshes; the message has those that there are."""


def example_of(repository: Path, meshes: Sequence[str]) -> Path:
    """The folder under ``examples`` that has a folder for each of these meshes, and no other.

    Raises:
        UnknownMeshesError: there is none.
    """
    known = {folder: _meshes_of(folder) for folder in sorted((repository / "examples").iterdir())}
    for folder, names in known.items():
        if names and names == frozenset(meshes) and len(names) == len(meshes):
            return folder
    there = " or ".join(",".join(sorted(names, reverse=True)) for names in known.values() if names)
    raise UnknownMeshesError(f"there is no example of the meshes {','.join(meshes)!r}: expected {there}")


def _meshes_of(example: Path) -> frozenset[str]:
    return frozenset(file.parent.name for file in example.glob("*/smcp.yaml"))


@dataclass(frozen=True, slots=True)
class Site:
    """One cluster with its mesh."""

    cluster: str
    files: Path
    kubectl: Kubectl

    @property
    def mesh(self) -> str:
        return f"{self.cluster}-mesh"

    @property
    def namespace(self) -> str:
        return f"{self.mesh}-system"

    @property
    def control_plane(self) -> list[Path]:
        """The files of the mesh itself."""
        return [self.files / name for name in _FIRST]

    @property
    def federation(self) -> list[Path]:
        """The files of its peers, of what it exports and of what it imports."""
        return [file for pattern in _FEDERATION for file in sorted(self.files.glob(pattern))]

    @property
    def workloads(self) -> list[Path]:
        """All other files: the applications, and the cluster's DNS."""
        others = {*self.control_plane, *self.federation}
        return [file for file in sorted(self.files.glob("*.yaml")) if file not in others]

    async def urls(self) -> list[str]:
        """What its client asks for, if it has one."""
        if not (self.files / "client.yaml").exists():
            return []
        urls = "jsonpath={.spec.template.spec.containers[0].env[?(@.name=='URL')].value}"
        return (await self.kubectl.run("get", *_CLIENT, "-o", urls)).split()

    async def answers(self) -> list[Any]:
        """Its client's first answer with status 200 from each URL; waits for them."""
        wanted = set(await self.urls())
        if not wanted:
            return []
        found: dict[str, Any] = {}
        async with self.kubectl.follow("logs", "-f", *_CLIENT) as log:
            while line := await log.readline():
                answer = json_object(line)
                if answer.get("status") == 200:
                    found.setdefault(answer["url"], answer)
                if wanted <= found.keys():
                    return [found[url] for url in sorted(wanted)]
        raise CommandError(f"the client in {self.mesh} ended without an answer from {', '.join(wanted - found.keys())}")

    async def identity_of(self, caller: "Site", url: str) -> str:
        """Who ``caller`` was when it was let in to ask for ``url``, from the ingress gateway's log; else empty."""
        gateway = await self.kubectl.run(
            "get", "-n", self.namespace, "servicemeshpeer", caller.mesh, "-o", "jsonpath={.spec.gateways.ingress.name}"
        )
        service = (urlsplit(url).hostname or "").partition(".svc.")[0]
        for line in (await self.kubectl.run("logs", "-n", self.namespace, f"deploy/{gateway}")).splitlines():
            entry = json_object(line)
            is_asked = entry.get("peer") == caller.mesh and f"{service}.svc." in entry.get("server_name", "")
            if is_asked and entry.get("upstream"):
                return str(entry.get("client", ""))
        return ""

    async def peers(self) -> list[PeerReport]:
        """All of its peers."""
        listed = await self.kubectl.get("-n", self.namespace, "servicemeshpeers")
        return [
            PeerReport(
                self.mesh,
                peer["metadata"]["name"],
                peer.get("status") or {},
                tuple(peer["spec"]["gateways"][role]["name"] for role in ("egress", "ingress")),
            )
            for peer in listed["items"]
        ]


def json_object(line: str | bytes) -> dict[str, Any]:
    """A line of a log that is a JSON object; empty for any other line."""
    text = line.decode(errors="replace") if isinstance(line, bytes) else line
    found: dict[str, Any] = json.loads(text) if text.startswith("{") else {}
    return found
