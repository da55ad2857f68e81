"""The data path through both gateways beside two Envoys configured by hand for the same hop, measured in turn.

The same client, the same server, the same mutual TLS, the same access log and as many workers on both ways, and on both
the service is told by its server name. The lab's proxy for Service addresses, which is no part of what is measured, is
taken out: red is given the address of green's gateway pod itself.
"""

import asyncio
import json
import os
import shutil
import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.changes import NAMESPACE, answered, observed
from bench.load import ask_for
from bench.two_meshes import BIN, Peer, Side, TwoMeshes, processes
from google.protobuf import json_format
from lightkube.models.core_v1 import ServicePort, ServiceSpec
from lightkube.models.discovery_v1 import Endpoint, EndpointPort
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Service
from lightkube.resources.discovery_v1 import EndpointSlice

from isthmus.api.logs import AccessLogFile
from isthmus.envoy.access_log import connection_log
from isthmus.identity import Authority, SpiffeId, TrustDomain

ENVOY = str(BIN / "envoy") if (BIN / "envoy").exists() else shutil.which("envoy") or "envoy"
BACKEND, EGRESS, INGRESS = ("127.77.0.9", 9080), ("127.77.0.1", 16000), ("127.77.0.2", 15443)
SERVER, CLIENT = (f"spiffe://hand.local/ns/hand/sa/{name}" for name in ("ingress", "egress"))
NAME, SERVER_NAME = "fast", "fast.hand.local"
ROUNDS = 10
ROUND_S = 3


async def compare(meshes: TwoMeshes) -> dict[str, Any]:
    """Requests per second and latencies of both, on kept and on new connections."""
    with TemporaryDirectory(prefix="isthmus-hand-") as folder:
        workers = {
            "egress": _workers(meshes.red, f"egress-{meshes.green.mesh}"),
            "ingress": _workers(meshes.green, f"ingress-{meshes.red.mesh}"),
        }
        async with _envoys(Path(folder), workers), observed(meshes) as seen:
            await _share_backend(meshes)
            await seen.imports.wait(NAME)
            targets = {"isthmus": (await meshes.egress(), int(seen.imports.values[NAME])), "by_hand": EGRESS}
            for target in targets.values():
                await answered(*target, pause_s=0.05)
            found = {kind: await _in_turn(targets, keep=kind == "kept") for kind in ("kept", "new")}
            return {"workers": workers, **found}


def _workers(side: Side, gateway: str) -> int:
    """How many the gateway's Envoy has: an egress gateway that may open few files has one."""
    words = processes(side)[gateway].words
    return int(words[words.index("--concurrency") + 1])


async def _in_turn(targets: dict[str, tuple[str, int]], *, keep: bool) -> dict[str, Any]:
    """The medians of both, and of how they compare in each round: who is measured first takes turns."""
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in targets}
    for number in range(ROUNDS):
        for name in sorted(targets, reverse=bool(number % 2)):
            rounds[name].append(await ask_for(ROUND_S, *targets[name], keep=keep))
    rates = {name: [each["requests_per_s"] for each in found] for name, found in rounds.items()}
    ratio = statistics.median(ours / theirs for ours, theirs in zip(rates["isthmus"], rates["by_hand"], strict=True))
    medians = {
        name: {key: statistics.median(r[key] for r in found) for key in found[0]} for name, found in rounds.items()
    }
    return {**medians, "ratio": ratio}


async def _share_backend(meshes: TwoMeshes) -> None:
    """Export a server that is faster than what is measured, and take the lab's proxy out of the way to it."""
    green, red = meshes.green, meshes.red
    metadata = ObjectMeta(name=NAME, namespace=NAMESPACE)
    await green.client.create(Service(metadata=metadata, spec=ServiceSpec(ports=[ServicePort(port=9080, name="http")])))
    address, port = BACKEND
    await green.client.create(
        EndpointSlice(
            metadata=ObjectMeta(name=NAME, namespace=NAMESPACE, labels={"kubernetes.io/service-name": NAME}),
            addressType="IPv4",
            endpoints=[Endpoint(addresses=[address])],
            ports=[EndpointPort(name="http", port=port)],
        )
    )
    addresses = [await green.pod_ip(f"ingress-{red.mesh}")]
    await red.change(Peer, green.mesh, {"remote": {"addresses": addresses}})


@asynccontextmanager
async def _envoys(folder: Path, workers: dict[str, int]) -> AsyncIterator[None]:
    """The server and the two gateways configured by hand, within the block."""
    certificates = await asyncio.to_thread(_write_certificates, folder)
    configs = {"server": _server(), "ingress": _ingress(certificates), "egress": _egress(certificates)}
    started = []
    try:
        for name, config in configs.items():
            path = folder / f"{name}.json"
            await asyncio.to_thread(path.write_text, json.dumps(config))
            own = str(workers.get(name, 2))
            command = [ENVOY, "-c", str(path), "--concurrency", own, "--disable-hot-restart", "--log-level", "error"]
            started += await _with_log(command, folder / f"{name}.log")
        yield
    finally:
        for process in started:
            if process.returncode is None:  # who reads a log ends with its writer
                process.terminate()
            await process.wait()


async def _with_log(command: list[str], log: Path) -> list[asyncio.subprocess.Process]:
    """The process, and one that reads what it writes and keeps it, as the runtime of a container does."""
    reader, writer = os.pipe()
    try:
        with log.open("wb") as file:
            return [
                await asyncio.create_subprocess_exec(*command, stdout=writer),
                await asyncio.create_subprocess_exec("cat", stdin=reader, stdout=file),
            ]
    finally:
        os.close(reader)
        os.close(writer)


def _write_certificates(folder: Path) -> dict[str, Any]:
    now, domain = datetime.now(UTC), TrustDomain("hand.local")
    authority = Authority.self_signed(domain, now=now)
    (folder / "root.pem").write_bytes(authority.root_cert_pem)
    for identity in (SERVER, CLIENT):
        svid = authority.issue_svid(SpiffeId.parse(identity), lifetime=timedelta(hours=2), now=now)
        name = identity.rpartition("/")[2]
        (folder / f"{name}.key").write_bytes(svid.key_pem)
        (folder / f"{name}.pem").write_bytes(svid.chain_pem)
    return {SERVER: _tls(folder, "ingress", CLIENT), CLIENT: _tls(folder, "egress", SERVER)}


def _tls(folder: Path, own: str, other: str) -> dict[str, Any]:
    files = {key: {"filename": str(folder / f"{own}.{end}")} for key, end in _PARTS.items()}
    return {
        "tls_certificates": [files],
        "validation_context": {
            "trusted_ca": {"filename": str(folder / "root.pem")},
            "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"exact": other}}],
        },
    }


_PARTS = {"certificate_chain": "pem", "private_key": "key"}


def _egress(certificates: dict[str, Any]) -> dict[str, Any]:
    context = {"sni": SERVER_NAME, "common_tls_context": certificates[CLIENT]}
    return _proxy(EGRESS, INGRESS, upstream=_socket("Upstream", context))


def _ingress(certificates: dict[str, Any]) -> dict[str, Any]:
    """By server name, since one port stands for many services on this hop."""
    context = {"require_client_certificate": True, "common_tls_context": certificates[SERVER]}
    chain = {"filter_chain_match": {"server_names": [SERVER_NAME]}, **_socket("Downstream", context)}
    config = _proxy(INGRESS, BACKEND, downstream=chain)
    kind = "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"
    inspector = {"name": "tls_inspector", "typed_config": {"@type": kind}}
    config["static_resources"]["listeners"][0]["listener_filters"] = [inspector]
    return config


def _socket(kind: str, context: dict[str, Any]) -> dict[str, Any]:
    full = f"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{kind}TlsContext"
    return {"transport_socket": {"name": "tls", "typed_config": {"@type": full, **context}}}


def _proxy(at: tuple[str, int], to: tuple[str, int], *, downstream: Any = None, upstream: Any = None) -> dict[str, Any]:
    """One listener, one TCP proxy, one cluster."""
    endpoint = {"endpoint": {"address": _address(to)}}
    cluster = {"name": "next", "load_assignment": {"cluster_name": "next", "endpoints": [{"lb_endpoints": [endpoint]}]}}
    kind = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
    config = {"@type": kind, "stat_prefix": "hand", "cluster": "next", "access_log": _log()}
    proxy = {"name": "tcp", "typed_config": config}
    listener = {"address": _address(at), "filter_chains": [{"filters": [proxy], **(downstream or {})}]}
    return {"static_resources": {"listeners": [listener], "clusters": [{**cluster, **(upstream or {})}]}}


def _log() -> list[dict[str, Any]]:
    """A line for each connection, with the fields that a gateway's has."""
    entries = connection_log(AccessLogFile(), "outbound", "hand", service=SERVER_NAME, port=9080)
    return [{**entry, "typed_config": json_format.MessageToDict(entry["typed_config"])} for entry in entries]


def _server() -> dict[str, Any]:
    """Answers 200 with a short body."""
    kind = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
    answer = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "5 stars\n"}}}
    manager = {
        "@type": kind,
        "stat_prefix": "server",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [answer]}]},
        "http_filters": [{"name": "router", "typed_config": {"@type": router}}],
    }
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    return {"static_resources": {"listeners": [{"address": _address(BACKEND), "filter_chains": [chain]}]}}


def _address(at: tuple[str, int]) -> dict[str, Any]:
    return {"socket_address": {"address": at[0], "port_value": at[1]}}
