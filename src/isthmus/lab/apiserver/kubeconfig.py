"""Kubeconfigs: how a client finds the server and proves who it is."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from isthmus.lab.apiserver.identity.authority import Credential, write_private


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """One cluster, one user, one context. A token or a client certificate, or both (kubectl prefers the token)."""

    cluster: str
    server: str
    ca: bytes
    user: str = "admin"
    token: str = ""
    credential: Credential | None = None
    namespace: str = "default"

    def to_yaml(self) -> str:
        context = {"cluster": self.cluster, "user": self.user, "namespace": self.namespace}
        cluster = {"server": self.server, "certificate-authority-data": _base64(self.ca)}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": self.cluster, "cluster": cluster}],
            "users": [{"name": self.user, "user": self._user()}],
            "contexts": [{"name": self.cluster, "context": context}],
            "current-context": self.cluster,
        }
        return yaml.safe_dump(document, sort_keys=False)

    def _user(self) -> dict[str, Any]:
        user: dict[str, Any] = {}
        if self.credential is not None:
            user["client-certificate-data"] = _base64(self.credential.certificate)
            user["client-key-data"] = _base64(self.credential.key)
        if self.token:
            user["token"] = self.token
        return user

    def write(self, path: Path) -> None:
        """Write it so that only its owner can read it. Blocks on files."""
        write_private(path, self.to_yaml().encode())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
