"""Sets without the lists of their status."""

import json
from typing import Any

import msgspec
import pytest

from isthmus.api.followed import NO_LIST, FollowedExports, FollowedImports, digest_of

KINDS = [(FollowedExports, "exportedServices"), (FollowedImports, "importedServices")]


def followed(kind: Any, **status: object) -> Any:
    document = {"metadata": {"name": "green-mesh"}, "spec": {}, "status": status}
    return msgspec.json.decode(json.dumps(document, separators=(",", ":")).encode(), type=kind)


@pytest.mark.parametrize(("kind", "field"), KINDS)
def test_a_list_is_followed_as_its_digest(kind: Any, field: str) -> None:
    """The same text has the same digest, another text has another, and the conditions are there."""
    conditions = [{"type": "Accepted", "status": "True"}]
    one = followed(kind, **{field: [{"exportedName": "a"}], "conditions": conditions})
    same = followed(kind, **{field: [{"exportedName": "a"}]})
    other = followed(kind, **{field: [{"exportedName": "b"}]})
    name = {"exportedServices": "exported_services", "importedServices": "imported_services"}[field]
    assert getattr(one.status, name) == digest_of(b'[{"exportedName":"a"}]') == getattr(same.status, name)
    assert getattr(other.status, name) != getattr(one.status, name)
    assert one.status.conditions[0].type == "Accepted"


@pytest.mark.parametrize(("kind", "field"), KINDS)
def test_no_list_is_not_an_empty_list(kind: Any, field: str) -> None:
    """A list that was never written can be told from an empty one; null is as good as absent."""
    name = {"exportedServices": "exported_services", "importedServices": "imported_services"}[field]
    assert getattr(followed(kind).status, name) == NO_LIST
    assert getattr(followed(kind, **{field: None}).status, name) == NO_LIST
    assert getattr(followed(kind, **{field: []}).status, name) != NO_LIST
