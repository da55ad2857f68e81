"""The gateway as a process: the real command, a real Envoy, a real certificate service and discovery service."""

import asyncio
import os
import signal
import socket
import stat
import time
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from tests.ca.naming import one_name
from tests.ca.serving import EGRESS, RED, Mesh, moment
from tests.ca.serving import PILOT as PILOT_ID
from tests.gateway.pod import CLIENT, PORT, Connection, Pilot, Pod, alive, get, hello, running_pod, until
from tests.prometheus import series

from isthmus.envoy import message
from isthmus.federation.findings import Fault, Step
from isthmus.federation.plan import Endpoint
from isthmus.identity import Authority, SpiffeId, TrustBundle
from isthmus.mutual_tls import client_context
from isthmus.probe import AGENT_PORT, AgentError, GatewayAgent, ProbeClient, ProbeOrder

pytestmark = [pytest.mark.envoy, pytest.mark.slow]

# Pods have their ports on addresses of their own; so has each run of these tests, of which there may be two at once.
NETWORK = f"127.61.{os.getpid() % 250 + 1}"
PILOT, POD, RESOLVER = f"{NETWORK}.1", f"{NETWORK}.2", f"{NETWORK}.53"


def pilot_with_listener(mesh: Mesh | None = None) -> Pilot:
    """A pilot that has one listener for its gateway."""
    pilot = Pilot(mesh or Mesh(), PILOT)
    pilot.table.put(message.LISTENER, hello(POD))
    return pilot


async def served_certificate(pod: Pod) -> bytes:
    """The certificate that a new connection is shown."""
    connection = await pod.connect()
    await connection.close()
    return connection.certificate


async def connection_when_it_works(pod: Pod) -> Connection:
    """A connection, as soon as one is accepted and answered."""
    async with asyncio.timeout(20):
        while True:
            try:
                connection = await pod.connect()
                await connection.request()
            except (OSError, asyncio.IncompleteReadError):
                await asyncio.sleep(0.02)
            else:
                return connection


async def test_a_pod_gets_its_certificate_and_serves() -> None:
    """From nothing to a listener over mutual TLS; the pilot saw who it is by its certificate, and what it says."""
    async with pilot_with_listener().serve() as pilot, running_pod(pilot, POD) as pod:
        await pod.wait_ready()
        connection = await pod.connect()
        assert await connection.request() == ("HTTP/1.1 200 OK", "hello")
        await connection.close()
        ((identities, metadata),) = pilot.seen
        assert identities == ("spiffe://red-mesh.local/ns/red-mesh-system/sa/egress-green-mesh-service-account",)
        assert metadata["POD_IP"] == POD
        assert metadata["GATEWAY"] == "egress-green-mesh"
        assert sources_of_connections_to(PILOT, pilot.xds_port) == {POD}


async def test_the_pilot_has_a_pod_try_the_way_to_a_peer() -> None:
    """The agent takes an order from the pilot alone, and calls from its own address as its own identity."""
    async with pilot_with_listener().serve() as pilot, running_pod(pilot, POD) as pod:
        await pod.wait_ready()
        order = ProbeOrder(
            addresses=(POD,),
            port=PORT,
            server_name="hello",
            trust_domain=str(RED),
            roots=pilot.mesh.authority.root_cert_pem.decode(),
        )
        with pytest.raises(AgentError, match="closed the connection"):
            await agent_client(pilot.mesh, CLIENT).probe(order)
        (attempt,) = (await agent_client(pilot.mesh, PILOT_ID).probe(order)).attempts
        # The listener admits one client, which is not the gateway: Envoy refuses our certificate.
        assert (attempt.reached, attempt.fault) == (Step.TRUST, Fault.CERTIFICATE_REFUSED)
        assert attempt.certificate is not None
        assert attempt.certificate.uris == (str(EGRESS),)


def agent_client(mesh: Mesh, caller: SpiffeId) -> ProbeClient:
    """Who gives orders to the pod's agent."""
    context = client_context(mesh.svid(caller), server_roots=TrustBundle.of(RED, mesh.authority.roots))
    return ProbeClient(
        GatewayAgent(
            name="egress-green-mesh",
            identities=[EGRESS],
            endpoints=lambda: [Endpoint(POD, AGENT_PORT)],
            context=lambda: context,
            local_address=PILOT,
        )
    )


def sources_of_connections_to(address: str, port: int) -> set[str]:
    """Local addresses of this machine's established connections to ``address``:``port``."""
    wanted = f"{encoded(address)}:{port:04X}"
    with open("/proc/net/tcp", encoding="ascii") as table:  # noqa: PTH123  (not a file)
        rows = [line.split() for line in table]
    return {decoded(row[1].partition(":")[0]) for row in rows if row[2] == wanted and row[3] == "01"}


def encoded(address: str) -> str:
    """An IPv4 address as /proc/net/tcp writes it."""
    return "".join(f"{int(part):02X}" for part in reversed(address.split(".")))


def decoded(address: str) -> str:
    """The inverse of ``encoded``."""
    return ".".join(str(part) for part in reversed(bytes.fromhex(address)))


async def test_statistics_are_shown_and_nothing_else_of_the_admin_interface() -> None:
    """15090 has Prometheus' text with a tag for each cluster; the rest of the interface is not reachable."""
    async with pilot_with_listener().serve() as pilot, running_pod(pilot, POD) as pod:
        await pod.wait_ready()
        status, text = await get(POD, 15090, "/stats/prometheus")
        assert status == 200
        assert 'envoy_cluster_ssl_handshake{cluster="xds-grpc"} 1' in text
        assert "envoy_server_live" in text
        ends = series(text)[
            "envoy_cluster_ssl_certificate_expiration_unix_time_seconds",
            frozenset({("cluster", "xds-grpc"), ("certificate", "default")}),
        ]
        assert 0 < ends - time.time() <= 24 * 3600
        assert "circuit_breakers" not in text
        paths = ("/", "/config_dump", "/quitquitquit", "/stats/prometheus/../../config_dump")
        async with asyncio.TaskGroup() as tasks:
            answers = [tasks.create_task(get(POD, 15090, path)) for path in paths]
        assert {answer.result()[0] for answer in answers} == {404}


async def test_the_private_directory_is_private() -> None:
    """Admin socket and secrets are in a directory that other users cannot enter; no key is in a file."""
    async with pilot_with_listener().serve() as pilot, running_pod(pilot, POD) as pod:
        await pod.wait_ready()
        (private,) = pod.folder.glob("isthmus-*")
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
        assert {path.name for path in private.iterdir()} == {"admin.sock", "sds.sock", "bootstrap.json"}
        assert "PRIVATE KEY" not in (private / "bootstrap.json").read_text()
        assert "PRIVATE KEY" not in (pod.folder / "output").read_text()


async def test_a_directory_with_a_long_name_is_no_hindrance(tmp_path: Path) -> None:
    """A temporary directory below a home is longer than a Unix socket's name may be."""
    folder = tmp_path / ("long" * 25)
    folder.mkdir()
    async with pilot_with_listener().serve() as pilot, running_pod(pilot, POD, folder) as pod:
        await pod.wait_ready()
        assert (await get(POD, 15090, "/stats/prometheus"))[0] == 200
        pod.process.terminate()
        assert await pod.process.wait() == 0
        assert not list(folder.glob("isthmus-*"))


async def test_a_certificate_is_renewed_under_traffic() -> None:
    """New connections are shown new certificates, time and again; the one that is open goes on all the while."""
    mesh = Mesh(lifetime=timedelta(seconds=3))
    async with pilot_with_listener(mesh).serve() as pilot, running_pod(pilot, POD) as pod:
        await pod.wait_ready()
        lasting = await pod.connect()
        seen = {lasting.certificate}
        async with asyncio.timeout(30):
            while len(seen) < 4:
                assert await lasting.request() == ("HTTP/1.1 200 OK", "hello")
                connection = await pod.connect()
                assert await connection.request() == ("HTTP/1.1 200 OK", "hello")
                seen.add(connection.certificate)
                await connection.close()
        await lasting.close()
        assert len(pod.events("envoy started")) == 1
        assert not pod.events("envoy ended")


async def test_a_new_root_is_followed_without_a_restart() -> None:
    """The mesh's CA is replaced: root file, then certificate, then traffic, and Envoy is the same process."""
    mesh = Mesh()
    async with pilot_with_listener(mesh).serve() as pilot, running_pod(pilot, POD) as pod:
        await pod.wait_ready()
        old = await served_certificate(pod)
        mesh.authority = Authority.self_signed(RED, now=moment())
        (pod.folder / "root-cert.pem").write_bytes(mesh.authority.root_cert_pem)
        await pod.wait_event("certificate obtained", times=2)
        connection = await connection_when_it_works(pod)
        assert connection.certificate != old
        await connection.close()
        assert len(pod.events("envoy started")) == 1


async def test_an_envoy_that_is_killed_is_restarted() -> None:
    """The log says by what it ended; the next one is ready again by itself."""
    async with pilot_with_listener().serve() as pilot, running_pod(pilot, POD) as pod:
        await pod.wait_ready()
        os.kill(pod.envoy_pid(), signal.SIGKILL)
        assert (await pod.wait_event("envoy ended"))["how"] == "signal SIGKILL"
        await pod.wait_event("envoy started", times=2)
        await pod.wait_ready()
        await served_certificate(pod)
        os.kill(pod.envoy_pid(), signal.SIGTERM)
        assert (await pod.wait_event("envoy ended", times=2))["how"] == "exit code 0"


async def test_envoy_dies_with_a_killed_agent() -> None:
    """No process is left behind, even if the agent had no time to say good-bye."""
    async with pilot_with_listener().serve() as pilot, running_pod(pilot, POD) as pod:
        await pod.wait_ready()
        envoy = pod.envoy_pid()
        assert alive(envoy)
        pod.process.kill()
        await pod.process.wait()
        await until(lambda: not alive(envoy), pod.output)


async def test_a_stop_drains_and_leaves_nothing() -> None:
    """SIGTERM: open connections may end, the exit code is 0, processes and files are gone."""
    async with pilot_with_listener().serve() as pilot, running_pod(pilot, POD) as pod:
        await pod.wait_ready()
        envoy = pod.envoy_pid()
        connection = await pod.connect()
        await connection.request()
        pod.process.terminate()
        await pod.wait_event("envoy is draining")
        assert (await pod.readiness())[0] == 503
        assert (await connection.request())[0] == "HTTP/1.1 200 OK"
        await connection.close()
        assert await pod.process.wait() == 0
        assert not alive(envoy)
        assert not list(pod.folder.glob("isthmus-*"))


async def test_a_stop_does_not_wait_longer_than_the_drain_time() -> None:
    """A connection that does not end is cut when the time is over."""
    async with pilot_with_listener().serve() as pilot, running_pod(pilot, POD, drain_time="1") as pod:
        await pod.wait_ready()
        connection = await pod.connect()
        await connection.request()
        pod.process.terminate()
        assert await pod.process.wait() == 0
        assert pod.events("connections are left at the end of the drain time")
        await connection.close()


async def test_a_pod_without_a_pilot_waits_and_says_why() -> None:
    """No pilot: not ready, one line in the log; when the pilot comes, the pod is ready without a restart."""
    pilot = pilot_with_listener()
    async with pilot.serve():
        pass
    async with running_pod(pilot, POD) as pod:
        await pod.wait_event("no new certificate yet, trying again")
        status, reason = await pod.readiness()
        assert status == 503
        assert reason.startswith("no certificate: the certificate service istiod-red-mesh.red-mesh-system.svc at dns:")
        async with pilot.serve():
            await pod.wait_ready()


async def test_a_pod_without_configuration_is_not_ready() -> None:
    """With a certificate but no discovery service Envoy waits, however long, and serves nothing half configured."""
    pilot = pilot_with_listener()
    async with pilot.serve_discovery():
        pass
    async with pilot.serve_certificates(), running_pod(pilot, POD) as pod:
        await pod.wait_event("envoy started")

        async def waits_for_configuration() -> None:
            while "waits for its configuration" not in (await pod.readiness())[1]:
                await asyncio.sleep(0.02)

        async with asyncio.timeout(20):
            await waits_for_configuration()
        async with pilot.serve_discovery():
            await pod.wait_ready()


async def test_a_pilot_of_another_name_gives_no_configuration() -> None:
    """Another workload under the mesh's root that listens on the pilot's port is not believed."""
    pilot = pilot_with_listener()
    async with pilot.serve_certificates(), pilot.serve_discovery(identity=CLIENT), running_pod(pilot, POD) as pod:
        await pod.wait_event("envoy started")
        async with asyncio.timeout(20):
            while not await failed_verifications(pod):
                await asyncio.sleep(0.05)
        assert not pilot.seen
        assert (await pod.readiness())[0] == 503


async def failed_verifications(pod: Pod) -> int:
    """How often the pilot's name was not the expected one."""
    (private,) = pod.folder.glob("isthmus-*")
    name = "cluster.xds-grpc.ssl.fail_verify_san"
    transport = httpx2.AsyncHTTPTransport(uds=str(private / "admin.sock"))
    async with httpx2.AsyncClient(transport=transport, base_url="http://envoy") as client:
        try:
            text = (await client.get("/stats", params={"filter": name})).text
        except httpx2.TransportError:
            return 0
    return int(text.partition(": ")[2] or 0)


async def test_a_stop_without_a_pilot_is_quick() -> None:
    """While it waits for its certificate there is nothing to drain."""
    async with running_pod(Pilot(Mesh(), PILOT, ca_port=1, xds_port=1), POD) as pod:
        await pod.wait_event("no new certificate yet, trying again")
        pod.process.terminate()
        assert await pod.process.wait() == 0
        assert not list(pod.folder.glob("isthmus-*"))


async def test_a_dns_server_that_is_given_resolves_for_agent_and_envoy() -> None:
    """A name that the machine does not know leads both to the pilot."""
    name = "istiod-red-mesh.red-mesh-system.svc.cluster.local"
    async with (
        pilot_with_listener().serve() as pilot,
        one_name(name, PILOT, server=RESOLVER) as dns_server,
        running_pod(pilot, POD, pilot=name, dns_server=dns_server) as pod,
    ):
        await pod.wait_ready()
        await served_certificate(pod)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"trust-domain": "Red Mesh"}, "Invalid trust domain 'Red Mesh'"),
        ({"dns-server": "dns.local:53"}, "Invalid DNS server 'dns.local:53'"),
        ({"pod-ip": "192.0.2.7"}, "192.0.2.7"),
        ({"envoy": "/nowhere/envoy"}, "cannot execute Envoy: '/nowhere/envoy' is no program"),
    ],
    ids=["trust domain", "DNS server", "address of another", "Envoy"],
)
async def test_what_cannot_work_ends_at_once_with_the_reason(options: dict[str, str], said: str) -> None:
    """One line, exit code 1."""
    async with running_pod(Pilot(Mesh(), PILOT, ca_port=1, xds_port=1), POD, **options) as pod:
        assert await pod.process.wait() == 1
        (line,) = pod.output()
        assert said in line["event"]
        assert line["event"].startswith("isthmus gateway: ")


@pytest.mark.parametrize("port", [15020, 15021], ids=["orders", "readiness"])
async def test_a_port_that_is_taken_ends_it_with_the_reason(port: int) -> None:
    """One line that names the port, and exit code 1, also for what listens only once there is a certificate."""
    with socket.create_server((POD, port)):
        async with pilot_with_listener().serve() as pilot, running_pod(pilot, POD) as pod:
            assert await pod.process.wait() == 1
            output = (pod.folder / "output").read_text()
    (said,) = [line for line in output.splitlines() if not line.startswith("{")]
    assert said.startswith("isthmus gateway: ")
    assert f"'{POD}', {port}" in said
