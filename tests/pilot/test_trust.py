"""The mesh's CA and root on a lab's API server, and the control plane's own certificate."""

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from lightkube.resources.core_v1 import ConfigMap, Secret
from structlog.testing import capture_logs
from tests.gateway.virtual_time import run_virtually
from tests.kube.lab import Lab, connected

from isthmus.clock import Clock
from isthmus.identity import Authority, InvalidAuthorityError, SpiffeId, TrustDomain, X509Svid, valid_at
from isthmus.kube import Client
from isthmus.kube.errors import NotFound
from isthmus.pilot.settings import Settings
from isthmus.pilot.trust import BROUGHT, ROOT_CONFIG_MAP, SELF_SIGNED, OwnIdentity, load_authority, publish_root

RED = TrustDomain("red-mesh.local")
SETTINGS = Settings(
    mesh="red-mesh", namespace="default", trust_domain=RED, pod_name="istiod-red-mesh-0", pod_ip="127.0.0.1"
)
NOW, DAY = datetime(2026, 6, 1, 12, tzinfo=UTC), timedelta(days=1)
PILOT = SpiffeId.service_account(RED, namespace="default", account="istiod-red-mesh")


def new_authority() -> Authority:
    """A CA that nobody has stored."""
    return Authority.self_signed(RED, now=datetime.now(UTC))


def content_of(authority: Authority) -> dict[str, bytes]:
    """The CA as Istio's Secrets hold it."""
    return {
        "ca-cert.pem": authority.ca_cert_pem,
        "ca-key.pem": authority.ca_key_pem,
        "cert-chain.pem": authority.cert_chain_pem,
        "root-cert.pem": authority.root_cert_pem,
    }


async def store(lab: Lab, name: str, content: Mapping[str, bytes]) -> None:
    """Create a Secret as an administrator."""
    data = {key: base64.b64encode(value).decode() for key, value in content.items()}
    await lab.create(json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}))


async def published_root(client: Client) -> str:
    """What the ConfigMap says."""
    found = await client.api.get(ConfigMap, ROOT_CONFIG_MAP, namespace="default")
    return str((found.data or {})["root-cert.pem"])


@pytest.mark.slow
async def test_replicas_that_start_together_share_one_ca(tmp_path: Path) -> None:
    """However many come first, one CA is stored and all of them use it; so does one that comes later."""
    async with connected(tmp_path) as (_, client):
        async with asyncio.TaskGroup() as tasks:
            loading = [tasks.create_task(load_authority(client, SETTINGS)) for _ in range(4)]
        stored = await client.api.get(Secret, SELF_SIGNED, namespace="default")
        certificate = base64.b64decode((stored.data or {})["ca-cert.pem"])
        assert {task.result().ca_cert_pem for task in loading} == {certificate}
        assert (await load_authority(client, SETTINGS)).ca_key_pem == loading[0].result().ca_key_pem


@pytest.mark.slow
async def test_the_ca_that_was_brought_is_used(tmp_path: Path) -> None:
    """An administrator's Secret counts, whatever else is stored, and no CA is made beside it."""
    async with connected(tmp_path) as (lab, client):
        brought = new_authority()
        await store(lab, BROUGHT, content_of(brought))
        assert (await load_authority(client, SETTINGS)).ca_cert_pem == brought.ca_cert_pem
        code, _ = await lab.kubectl("get", "secret", SELF_SIGNED)
        assert code != 0
        await store(lab, SELF_SIGNED, content_of(new_authority()))
        assert (await load_authority(client, SETTINGS)).ca_cert_pem == brought.ca_cert_pem


@pytest.mark.slow
async def test_istios_own_secret_is_understood(tmp_path: Path) -> None:
    """The Secret that an Istio made has no root beside the CA, which is its own root."""
    async with connected(tmp_path) as (lab, client):
        made = new_authority()
        await store(lab, SELF_SIGNED, {"ca-cert.pem": made.ca_cert_pem, "ca-key.pem": made.ca_key_pem})
        loaded = await load_authority(client, SETTINGS)
        assert (loaded.ca_cert_pem, loaded.root_cert_pem) == (made.ca_cert_pem, made.ca_cert_pem)


@pytest.mark.slow
async def test_a_ca_that_cannot_be_used_is_told_of(tmp_path: Path) -> None:
    """A broken Secret is not replaced by a CA of our own: the message names the part to correct."""
    async with connected(tmp_path) as (lab, client):
        content = content_of(new_authority()) | {"ca-key.pem": new_authority().ca_key_pem}
        await store(lab, BROUGHT, content)
        with pytest.raises(InvalidAuthorityError, match=r"ca-key\.pem"):
            await load_authority(client, SETTINGS)
        await lab.kubectl("delete", "secret", BROUGHT)
        await store(lab, BROUGHT, {})
        with pytest.raises(InvalidAuthorityError, match=r"ca-cert\.pem"):
            await load_authority(client, SETTINGS)


@pytest.mark.slow
async def test_the_root_is_published(tmp_path: Path) -> None:
    """Gateways and other administrators find the present root in its ConfigMap, where others may put labels."""
    async with connected(tmp_path) as (lab, client):
        first, second = new_authority(), new_authority()
        await publish_root(client, first, SETTINGS)
        assert await published_root(client) == first.root_cert_pem.decode()
        await lab.kubectl("label", "configmap", ROOT_CONFIG_MAP, "team=red")
        await publish_root(client, second, SETTINGS)
        assert await published_root(client) == second.root_cert_pem.decode()
        found = await client.api.get(ConfigMap, ROOT_CONFIG_MAP, namespace="default")
        assert found.metadata is not None
        assert (found.metadata.labels or {})["team"] == "red"


@pytest.mark.slow
async def test_a_namespace_that_is_missing_is_told(tmp_path: Path) -> None:
    """Where the mesh's namespace is not, nothing can be stored, and the message says what was tried."""
    async with connected(tmp_path) as (_, client):
        with pytest.raises(NotFound, match="Secret nowhere/istio-ca-secret"):
            await load_authority(client, replace(SETTINGS, namespace="nowhere"))


def test_the_own_certificate_has_the_names_of_the_service() -> None:
    """Gateways know the control plane by its SPIFFE id, and reach it by any name of its Service."""
    identity = OwnIdentity(new_authority(), SETTINGS, PILOT)
    svid = identity.current()
    assert svid.spiffe_id == PILOT
    assert SETTINGS.host == "istiod-red-mesh.default.svc.cluster.local"
    assert SETTINGS.host in SETTINGS.service_names


@pytest.mark.slow
async def test_the_own_certificate_is_renewed_in_time() -> None:
    """Before it ends there is another one, and whoever serves with it is told."""
    renewed: asyncio.Future[X509Svid] = asyncio.get_running_loop().create_future()
    identity = OwnIdentity(new_authority(), replace(SETTINGS, certificate_lifetime=timedelta(seconds=2)), PILOT)
    identity.subscribe(renewed.set_result)
    first = identity.current()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(identity.run())
        async with asyncio.timeout(10):
            second = await renewed
        task.cancel()
    assert second.leaf != first.leaf
    assert identity.current() is second


class SetClock:
    """A clock that may be set; durations are those of the loop."""

    def __init__(self) -> None:
        self.set_by = timedelta()
        self.clock = Clock(now=self._now, monotonic_s=lambda: asyncio.get_running_loop().time())

    def _now(self) -> datetime:
        return NOW + timedelta(seconds=asyncio.get_running_loop().time()) + self.set_by


def test_the_own_certificate_holds_after_the_clock_was_set() -> None:
    """Within half a minute, forward or back, and half of its life later there is another, as ever."""

    async def scenario() -> None:
        setting = SetClock()
        identity = OwnIdentity(Authority.self_signed(RED, now=NOW - DAY), SETTINGS, PILOT, clock=setting.clock)
        seen: list[X509Svid] = []
        identity.subscribe(seen.append)
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(identity.run())
            for count, hours in ((1, -1), (2, 26), (3, -25)):
                setting.set_by += timedelta(hours=hours)
                assert not valid_at(identity.current().leaf, setting.clock.now())
                await asyncio.sleep(31)
                assert valid_at(identity.current().leaf, setting.clock.now())
                assert len(seen) == count
            setting.set_by -= timedelta(minutes=1)
            await asyncio.sleep(0.49 * DAY.total_seconds())
            assert len(seen) == 3
            await asyncio.sleep(0.02 * DAY.total_seconds())
            assert len(seen) == 4
            task.cancel()

    run_virtually(scenario())


def test_the_own_certificate_is_kept_while_the_ca_can_issue_none() -> None:
    """By a clock set far forward the CA's time is over; that is told once, and when it is set right all goes on."""

    async def scenario() -> None:
        setting = SetClock()
        authority = Authority.self_signed(RED, now=NOW)
        identity = OwnIdentity(authority, SETTINGS, PILOT, clock=setting.clock)
        first = identity.current()
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(identity.run())
            setting.set_by = 50 * 365 * DAY
            with capture_logs() as logs:
                await asyncio.sleep(600)
            assert [line["event"] for line in logs] == ["own certificate not renewed, trying on"]
            assert identity.current() is first
            setting.set_by = timedelta()
            await asyncio.sleep(DAY.total_seconds())
            assert identity.current() is not first
            assert valid_at(identity.current().leaf, setting.clock.now())
            task.cancel()

    run_virtually(scenario())
