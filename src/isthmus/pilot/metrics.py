"""Metrics of the control plane for Prometheus: what ``GET /metrics`` on 15014 tells.

Nothing is kept here but what only this page wants to know (xDS pushes): all else is read from the live parts when it is
asked for, by the table in ``measured``. How many series there are depends on peers and gateways, whatever they share:
none stands for a single service. Each import is looked at once in a scrape, to be counted by its state.
Source: Prometheus "Writing exporters" and "Metric and label naming".
"""

from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from isthmus.envoy.message import ORDER
from isthmus.pilot.measured import MEASURED, Observed
from isthmus.readiness import Answer

PUSH_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""From a change in an idle mesh to ten thousand services pushed at once."""
_SHORT: Final = {type_url: type_url.rpartition(".")[2] for type_url in ORDER}


class Metrics:
    """The page; one for each process, with a registry of its own."""

    def __init__(self, observed: Observed) -> None:
        """``observed`` is read at each scrape, and never written."""
        self._registry = CollectorRegistry(auto_describe=False)
        self.pushes: Final = Pushes(self._registry)
        self._registry.register(_Live(observed))
        ProcessCollector(registry=self._registry)

    async def page(self) -> Answer:
        """What there is to say now, in Prometheus' text format."""
        return Answer("200 OK", generate_latest(self._registry), CONTENT_TYPE_LATEST)


class _Live(Collector):
    def __init__(self, observed: Observed) -> None:
        self._observed = observed

    def collect(self) -> Iterator[Metric]:
        return (measured.family(self._observed) for measured in MEASURED)


class Pushes:
    """Counts what gateways were sent (``xds.PushListener``)."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register what is counted."""
        self._pushes = Counter(
            "isthmus_xds_pushes", "Responses with configuration sent to gateways.", ["type"], registry=registry
        )
        self._rejections = Counter(
            "isthmus_xds_rejections",
            "Configurations that a gateway refused (NACK); it keeps what it had.",
            ["gateway", "type"],
            registry=registry,
        )
        self._latency = Histogram(
            "isthmus_xds_push_duration_seconds",
            "From a change, or a gateway's request, to the gateway's answer.",
            ["type"],
            buckets=PUSH_BUCKETS_S,
            registry=registry,
        )

    def pushed(self, client: str, type_url: str) -> None:
        """A response was sent."""
        self._pushes.labels(_kind(type_url)).inc()

    def settled(self, client: str, type_url: str, *, seconds: float, is_rejected: bool) -> None:
        """A response was taken or refused."""
        self._latency.labels(_kind(type_url)).observe(seconds)
        if is_rejected:
            self._rejections.labels(client, _kind(type_url)).inc()


def _kind(type_url: str) -> str:
    """A short name for one of the types that there are; a client may ask for any other."""
    return _SHORT.get(type_url, "other")
