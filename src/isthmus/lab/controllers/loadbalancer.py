"""Services of type LoadBalancer: an address out of the cluster's range and a name below its apps domain."""

from ipaddress import IPv4Address, IPv4Network

from lightkube import AsyncClient
from lightkube.models.core_v1 import LoadBalancerIngress, LoadBalancerStatus
from lightkube.resources.core_v1 import Service
from lightkube.types import PatchType

from isthmus.lab.client import EventRecorder, Informers, ObjectKey, ReconcileLoop, key_of, metadata_of
from isthmus.lab.client.status import merge_patch

FIRST_HOST = 10  # the addresses before it are left to the cluster itself


class LoadBalancerController:
    """Gives each LoadBalancer Service its address. What is given is known from the stored statuses alone."""

    def __init__(self, client: AsyncClient, informers: Informers, *, pool: IPv4Network, apps_domain: str) -> None:
        self._client = client
        self._services = informers.of(Service)
        self._pool = pool
        self._apps_domain = apps_domain
        self._events = EventRecorder(client, component="service-controller")
        self._given: dict[ObjectKey, str] = {}
        # One worker: two Services must never be given the same address.
        self._loop = ReconcileLoop[ObjectKey]("loadbalancer", self._reconcile, workers=1)
        self._services.subscribe(lambda key, _old, _new: self._loop.add(key))

    async def run(self) -> None:
        """Work until cancelled."""
        await self._loop.run()

    async def _reconcile(self, key: ObjectKey) -> None:
        service = self._services.get(key)
        if service is None or service.spec is None:
            self._given.pop(key, None)
            return
        known = ingress_of(service)
        wanted: list[LoadBalancerIngress] = []
        if service.spec.type == "LoadBalancer" and not metadata_of(service).deletionTimestamp:
            wanted = [self._ingress(service, known)]
        else:
            self._given.pop(key, None)
        if wanted != known:
            await self._write(service, wanted)

    def _ingress(self, service: Service, known: list[LoadBalancerIngress]) -> LoadBalancerIngress:
        key = key_of(service)
        taken = {address for other, address in self._given.items() if other != key}
        for other in self._services:
            if key_of(other) != key:
                taken |= {ingress.ip for ingress in ingress_of(other) if ingress.ip}
        wish = (service.spec.loadBalancerIP if service.spec else None) or (known[0].ip if known else None)
        address = choose_address(self._pool, taken=taken, wish=wish or self._given.get(key))
        self._given[key] = address
        return LoadBalancerIngress(ip=address, ipMode="VIP", hostname=load_balancer_name(key, self._apps_domain))

    async def _write(self, service: Service, wanted: list[LoadBalancerIngress]) -> None:
        key = key_of(service)
        before = service.status.to_dict() if service.status else {}
        after = {**before, "loadBalancer": LoadBalancerStatus(ingress=wanted or None).to_dict()}
        patch = {"status": merge_patch(before, after)}
        updated = await self._client.patch(
            Service.Status, key.name, patch, namespace=key.namespace, patch_type=PatchType.MERGE
        )
        self._services.observe(Service.from_dict(updated.to_dict()))  # type: ignore[arg-type]  # same model
        if wanted:
            message = f"Ensured load balancer at {wanted[0].ip}, {wanted[0].hostname}"
            await self._events.record(service, reason="EnsuredLoadBalancer", message=message)


def ingress_of(service: Service) -> list[LoadBalancerIngress]:
    """The addresses that a Service's status says it has outside the cluster."""
    balancer = service.status.loadBalancer if service.status else None
    return (balancer.ingress if balancer else None) or []


def load_balancer_name(key: ObjectKey, apps_domain: str) -> str:
    """``<service>.<namespace>.<apps domain>``."""
    return f"{key.name}.{key.namespace}.{apps_domain}"


def choose_address(pool: IPv4Network, *, taken: set[str], wish: str | None) -> str:
    """The wished address if it is in the pool and free, else the first free one.

    Raises LookupError if the pool is exhausted.
    """
    if wish and wish not in taken and IPv4Address(wish) in pool:
        return wish
    for number in range(FIRST_HOST, pool.num_addresses - 1):
        if (address := str(pool[number])) not in taken:
            return address
    raise LookupError(f"Choosing an address for a LoadBalancer: all of {pool} are in use; delete Services of that type")
