"""The metrics of the control plane under test, as Prometheus gets them."""

import httpx2
from tests.pilot.red import POD_IP
from tests.prometheus import Series, series

from isthmus.pilot.settings import MONITORING_PORT


async def scrape() -> Series:
    """What Prometheus gets of the control plane."""
    async with httpx2.AsyncClient(trust_env=False, timeout=10) as client:
        answer = await client.get(f"http://{POD_IP}:{MONITORING_PORT}/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return series(answer.text)


async def value(name: str, **labels: str) -> float | None:
    """One series; None if there is none."""
    return (await scrape()).get((f"isthmus_{name}", frozenset(labels.items())))
