"""Objects to test with."""

from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap


def config_map(name: str, *, version: str = "1", namespace: str = "red", uid: str = "u", **data: str) -> ConfigMap:
    """Make a ConfigMap as if an API server had returned it."""
    return ConfigMap(
        metadata=ObjectMeta(name=name, namespace=namespace, resourceVersion=version, uid=uid), data=dict(data)
    )
