"""Objects of an informer by something else than their key."""

from typing import Any, cast

from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap

from isthmus.lab.client import Index, Informer, ObjectKey


def config_map(name: str, version: int, owner: str | None) -> ConfigMap:
    labels = {"owner": owner} if owner else None
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="here", resourceVersion=str(version), labels=labels))


def owner_of(obj: ConfigMap) -> str | None:
    return ((obj.metadata.labels if obj.metadata else None) or {}).get("owner")


def names(found: list[ConfigMap]) -> list[str | None]:
    return [each.metadata.name if each.metadata else None for each in found]


def test_an_object_is_found_where_it_is_now() -> None:
    """An object is found under the key of its last version only, and nowhere once it has none or is gone."""
    informer: Informer[ConfigMap] = Informer(cast("Any", None), ConfigMap)
    informer.observe(config_map("known before", 1, "x"))
    index = Index(informer, owner_of)
    informer.observe(config_map("a", 2, "x"))
    informer.observe(config_map("b", 3, "y"))
    assert names(index.get("x")) == ["known before", "a"]
    informer.observe(config_map("a", 4, "y"))
    assert (names(index.get("x")), names(index.get("y"))) == (["known before"], ["b", "a"])
    informer.observe(config_map("a", 5, None))
    informer._drop(ObjectKey("here", "b"))
    assert index.get("y") == []
    assert index._found.keys() == {"x"}
