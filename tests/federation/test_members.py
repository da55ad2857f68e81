"""Which namespaces belong to the mesh. Source: docs/reference.md §6."""

import msgspec
import pytest

from isthmus.api import ServiceMeshMemberRoll
from isthmus.federation.members import Members

SYSTEM = "red-mesh-system"


def roll(*members: str) -> ServiceMeshMemberRoll:
    metadata = {"name": "default", "namespace": SYSTEM}
    return msgspec.convert({"metadata": metadata, "spec": {"members": members}}, ServiceMeshMemberRoll)


@pytest.mark.parametrize(
    ("given", "bookinfo", "other"),
    [
        pytest.param(None, True, True, id="no roll: all"),
        pytest.param(roll(), False, False, id="nobody named: nobody"),
        pytest.param(roll("bookinfo"), True, False, id="those named"),
        pytest.param(roll("book"), False, False, id="whole names"),
        pytest.param(roll("bookinfo", "*"), True, True, id="a star: all"),
    ],
)
def test_members(given: ServiceMeshMemberRoll | None, bookinfo: bool, other: bool) -> None:
    """Without a roll, or with ``*``, every namespace belongs to the mesh; else those named, and the control plane's."""
    members = Members.of(given, system_namespace=SYSTEM)
    found = [members.include(each, {}) for each in ("bookinfo", "other", SYSTEM)]
    assert found == [bookinfo, other, True]


@pytest.mark.parametrize(
    ("selectors", "labels", "expected"),
    [
        ([{"matchLabels": {"mesh": "red"}}], {"mesh": "red", "x": "y"}, True),
        ([{"matchLabels": {"mesh": "red"}}], {"mesh": "green"}, False),
        ([{"matchLabels": {"mesh": "red"}}], {}, False),
        ([{"matchLabels": {"a": "b"}}, {"matchLabels": {"mesh": "red"}}], {"mesh": "red"}, True),
        ([{"matchExpressions": [{"key": "mesh", "operator": "Exists"}]}], {"mesh": ""}, True),
        ([{"matchExpressions": [{"key": "mesh", "operator": "In"}]}], {"mesh": ""}, False),
        ([{}], {}, True),
    ],
)
def test_members_by_label(selectors: list[object], labels: dict[str, str], expected: bool) -> None:
    """A namespace that any selector selects belongs to the mesh, one that cannot be used selects none; names count
    beside them."""
    spec = {"members": ["named"], "memberSelectors": selectors}
    given = msgspec.convert({"metadata": {"name": "default", "namespace": SYSTEM}, "spec": spec}, ServiceMeshMemberRoll)
    members = Members.of(given, system_namespace=SYSTEM)
    assert members.include("bookinfo", labels) is expected
    assert members.include("named", {})


def test_a_roll_without_members_is_one_of_nobody() -> None:
    """A roll that leaves ``members`` out names nobody."""
    empty = msgspec.convert({"metadata": {"name": "default", "namespace": SYSTEM}}, ServiceMeshMemberRoll)
    assert not Members.of(empty, system_namespace=SYSTEM).include("bookinfo", {})
