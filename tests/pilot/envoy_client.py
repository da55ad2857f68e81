"""A gateway's Envoy as far as the protocol goes: it asks, applies what it is sent, and holds versions."""

from collections.abc import Iterable

from isthmus.envoy import message
from isthmus.xds import DeltaRequest, DeltaStream, ResourceTable


class EnvoyClient:
    """Subscribed to everything eager, and by name to the on-demand resources that it is told of."""

    def __init__(self, table: ResourceTable, *, clusters: Iterable[str] = (), endpoints: Iterable[str] = ()) -> None:
        self.held: dict[str, dict[str, str]] = {kind: {} for kind in message.ORDER}
        self._named = {message.CLUSTER: tuple(clusters), message.ENDPOINTS: tuple(endpoints)}
        self._stream = DeltaStream(table, order=message.ORDER)
        self._leave = table.listen(self._stream.changed)
        for kind in message.ORDER:
            eager = () if kind == message.ENDPOINTS else ("*",)
            self._stream.receive(DeltaRequest(kind, (*eager, *self._named.get(kind, ()))))

    def leave(self) -> None:
        """End the stream."""
        self._leave()

    def synced(self) -> dict[str, dict[str, str]]:
        """What it holds when everything that waits has been sent: versions by type and name."""
        for response in self._stream.flush():
            held = self.held[response.type_url]
            held.update({each.name: each.version for each in response.resources})
            for name in response.removed:
                held.pop(name, None)
            assert self._stream.receive(DeltaRequest(response.type_url, nonce=response.nonce)) is None
        return self.held
