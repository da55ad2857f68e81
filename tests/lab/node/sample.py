"""What tests of the node share: a pod, and ConfigMaps and Secrets in memory as the node's port wants them."""

import base64

from lightkube.models.core_v1 import PodSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap, Pod, Secret

from isthmus.lab.node.sources import Sources, TokenWish


class Stored:
    """ConfigMaps and Secrets by name."""

    def __init__(self, *, maps: dict[str, dict[str, str]], secrets: dict[str, dict[str, str]]) -> None:
        self.maps = maps
        self.secrets = secrets

    def config_map(self, namespace: str, name: str) -> ConfigMap | None:
        del namespace
        return ConfigMap(data=self.maps[name]) if name in self.maps else None

    def secret(self, namespace: str, name: str) -> Secret | None:
        del namespace
        if name not in self.secrets:
            return None
        return Secret(data={key: base64.b64encode(text.encode()).decode() for key, text in self.secrets[name].items()})


def pod() -> Pod:
    """A pod with labels and annotations."""
    return Pod(
        metadata=ObjectMeta(
            name="web-1",
            namespace="shop",
            uid="uid-1",
            labels={"app": "web", "tier": "front"},
            annotations={"note": 'a "quoted"\nline'},
        ),
        spec=PodSpec(containers=[], serviceAccountName="seller", nodeName="node-1"),
    )


def sources(
    *,
    maps: dict[str, dict[str, str]] | None = None,
    secrets: dict[str, dict[str, str]] | None = None,
    tokens: dict[TokenWish, str] | None = None,
) -> Sources:
    """The sources of that pod."""
    return Sources(
        pod=pod(),
        namespace="shop",
        pod_ip="127.17.0.2",
        host_ip="127.16.0.1",
        objects=Stored(maps=maps or {}, secrets=secrets or {}),
        tokens=tokens or {},
    )
