"""EndpointSlices: where the pods of each Service with a selector can be reached."""

from lightkube import ApiError, AsyncClient
from lightkube.resources.core_v1 import Pod, Service
from lightkube.resources.discovery_v1 import EndpointSlice

from isthmus.lab.client import Index, Informers, ObjectKey, ReconcileLoop, absent, key_of, metadata_of
from isthmus.lab.controllers.endpoints import CONTROLLER, MANAGED_BY, SERVICE_LABEL, slices_for
from isthmus.lab.zones import Zones


class EndpointSliceController:
    """Keeps the slices of Services that have a selector; other people's slices are not touched."""

    def __init__(self, client: AsyncClient, informers: Informers) -> None:
        self._client = client
        self._services = informers.of(Service)
        self._pods = informers.of(Pod)
        self._slices = informers.of(EndpointSlice)
        self._ours = Index(self._slices, _our_service)
        self._loop = ReconcileLoop[ObjectKey]("endpointslice", self._reconcile)
        self._services.subscribe(lambda key, _old, _new: self._loop.add(key))
        self._pods.subscribe(lambda _key, old, new: self._pod_changed(old, new))
        self._slices.subscribe(lambda _key, old, new: self._slice_changed(new or old))
        self._zones = Zones(informers, changed=self._zone_changed)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._loop.run()

    def _pod_changed(self, *versions: Pod | None) -> None:
        for pod in versions:
            if pod is None:
                continue
            for service in self._services.namespace(key_of(pod).namespace):
                if selects(service, pod):
                    self._loop.add(key_of(service))

    def _slice_changed(self, changed: EndpointSlice | None) -> None:
        service = _our_service(changed) if changed is not None else None
        if service is not None:
            self._loop.add(service)

    def _zone_changed(self, _node: str) -> None:
        for service in self._services:
            self._loop.add(key_of(service))

    async def _reconcile(self, key: ObjectKey) -> None:
        service = self._services.get(key)
        wanted: dict[ObjectKey, EndpointSlice] = {}
        if service is not None and _has_selector(service) and not metadata_of(service).deletionTimestamp:
            pods = [pod for pod in self._pods.namespace(key.namespace) if selects(service, pod)]
            wanted = {key_of(piece): piece for piece in slices_for(service, pods, zone_of=self._zones.of)}
        known = {key_of(piece): piece for piece in self._ours.get(key)}
        for name, piece in wanted.items():
            await self._write(piece, known.get(name))
        for name in known.keys() - wanted.keys():
            await self._delete(name)

    async def _write(self, wanted: EndpointSlice, known: EndpointSlice | None) -> None:
        if known is None:
            self._slices.observe(await self._client.create(wanted))
        elif not _same(wanted, known):
            metadata_of(wanted).resourceVersion = metadata_of(known).resourceVersion
            self._slices.observe(await self._client.replace(wanted))

    async def _delete(self, key: ObjectKey) -> None:
        try:
            await self._client.delete(EndpointSlice, key.name, namespace=key.namespace)
        except ApiError as error:
            if not absent(error):
                raise


def selects(service: Service, pod: Pod) -> bool:
    """Whether a Service's selector chooses a pod; without a selector it chooses none."""
    selector: dict[str, str] = (service.spec.selector if service.spec else None) or {}
    return bool(selector) and selector.items() <= (metadata_of(pod).labels or {}).items()


def _has_selector(service: Service) -> bool:
    return bool(service.spec and service.spec.selector and service.spec.type != "ExternalName")


def _our_service(piece: EndpointSlice) -> ObjectKey | None:
    """The Service of a slice that this controller has made."""
    labels = metadata_of(piece).labels or {}
    if labels.get(MANAGED_BY) != CONTROLLER:
        return None
    return ObjectKey(key_of(piece).namespace, labels.get(SERVICE_LABEL, ""))


def _same(one: EndpointSlice, other: EndpointSlice) -> bool:
    return (
        (one.ports or []) == (other.ports or [])
        and (one.endpoints or []) == (other.endpoints or [])
        and metadata_of(one).labels == metadata_of(other).labels
    )
