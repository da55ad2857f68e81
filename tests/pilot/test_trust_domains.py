"""A mesh that moves from one trust domain to another: who is taken for its own meanwhile."""

import json
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
from tests.pilot.red import FORWARDED, POD_IP, Red, peer, red_cluster, settings
from tests.waiting import until

from isthmus.identity import TrustDomain
from isthmus.pilot.settings import DISCOVERY_PORT, Settings

pytestmark = pytest.mark.slow
FORMER = TrustDomain("red-mesh.local")


def moved(*aliases: TrustDomain) -> Settings:
    """Red's control plane in another trust domain than that of all certificates that the tests hold."""
    return replace(settings(), trust_domain=TrustDomain("new.local"), trust_domain_aliases=aliases)


async def ask(red: Red) -> int:
    """What the control plane answers to an ingress gateway that still has its former certificate."""
    context = red.calls("ingress-green-mesh-service-account")
    async with httpx2.AsyncClient(verify=context, timeout=10, trust_env=False) as client:
        answer = await client.get(f"https://{POD_IP}:{DISCOVERY_PORT}/v1/services/green-mesh", headers=FORWARDED)
    return answer.status_code


async def test_gateways_of_the_former_trust_domain_go_on(tmp_path: Path) -> None:
    """With the former domain as an alias, the egress gateway that has a certificate of it is called, and the ingress
    gateway is answered."""
    async with red_cluster(tmp_path) as red, red.green_reachable():
        await red.apply(red.green_root, peer())
        async with red.control_plane(told=moved(FORMER)):

            async def is_up() -> bool:
                active = (await red.status()).get("discoveryStatus", {}).get("active", [])
                return [each["watch"]["connected"] for each in active] == [True]

            await until(is_up)
            assert await ask(red) == 200


async def test_without_the_alias_they_are_strangers(tmp_path: Path) -> None:
    """The same root is not enough: identities of a domain that is no alias are refused on both ways."""
    async with red_cluster(tmp_path) as red, red.green_reachable():
        await red.apply(red.green_root, peer())
        async with red.control_plane(told=moved()):

            async def is_refused() -> bool:
                inactive = (await red.status()).get("discoveryStatus", {}).get("inactive", [])
                return any("expected spiffe://new.local/" in json.dumps(each) for each in inactive)

            await until(is_refused)
            assert await ask(red) == 403
