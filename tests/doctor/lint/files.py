"""Files of two meshes that fit each other, to be broken one by one."""

from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import yaml

from isthmus.doctor.lint import Report, Source, lint
from isthmus.identity import Authority, TrustDomain

EXAMPLES = Path(__file__).parents[3] / "examples"
NOW = datetime(2026, 6, 1, tzinfo=UTC)


@cache
def root(name: str, *, made: datetime = NOW - timedelta(days=10), days: int = 3650) -> str:
    """A root certificate of the mesh of that name."""
    authority = Authority.self_signed(TrustDomain(f"{name}-mesh.local"), now=made, lifetime=timedelta(days=days))
    return authority.root_cert_pem.decode()


def config_map(owner: str, peer: str, pem: str, *, name: str = "", key: str = "root-cert.pem") -> str:
    """The ConfigMap of ``owner`` with a root of ``peer``."""
    metadata = {"name": name or f"{peer}-mesh-ca-root-cert", "namespace": f"{owner}-mesh-system"}
    return yaml.safe_dump({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {key: pem}})


@cache
def _example(folder: str) -> tuple[tuple[str, str], ...]:
    files = sorted((EXAMPLES / folder).rglob("*.yaml"))
    return tuple((str(file.relative_to(EXAMPLES / folder)), file.read_text()) for file in files)


def two_meshes() -> dict[str, str]:
    """Red and green with each other's roots, by file; nothing is wrong with them."""
    files = dict(_example("two-meshes"))
    files["red/root.yaml"] = config_map("red", "green", root("green"))
    files["green/root.yaml"] = config_map("green", "red", root("red"))
    return files


def three_meshes() -> dict[str, str]:
    """Red, green and blue, where blue has one pair of gateways for both; without roots."""
    return dict(_example("three-meshes"))


def linted(files: dict[str, str], *, now: datetime = NOW) -> Report:
    """What is found in the files."""
    return lint([Source(name, text.encode()) for name, text in files.items()], now=now)
