"""Options, readiness, differences and files of a link."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.doctor.linking.meshes import after, mesh
from tests.doctor.linking.test_plan import linked

from isthmus.doctor.linking.differences import differences
from isthmus.doctor.linking.errors import LinkError
from isthmus.doctor.linking.files import to_yaml, write_files
from isthmus.doctor.linking.options import Options, parse_addresses
from isthmus.doctor.linking.plan import Verb, plan_link
from isthmus.doctor.linking.readiness import not_ready
from isthmus.doctor.linking.reading import meshes_asked
from isthmus.kube.apply import contains


def test_addresses_are_read() -> None:
    """For all peers of a mesh, or for one; several add up."""
    given = ["green=a.example.com", "green=10.0.0.1", "green/red=::1"]
    assert parse_addresses(given, ["red", "green"]) == {
        ("green", ""): ("a.example.com", "10.0.0.1"),
        ("green", "red"): ("::1",),
    }


@pytest.mark.parametrize(
    "text", ["green", "=a", "green=", "green=a b", "green/=a", "blue=a", "green/blue=a", "green=a/b"]
)
def test_an_address_that_cannot_be_meant_is_told(text: str) -> None:
    """With what was given."""
    with pytest.raises(LinkError, match=f"address '{text}'"):
        parse_addresses([text], ["red", "green"])


@pytest.mark.parametrize(
    ("contexts", "expected"), [([], [None, None]), (["one"], ["one", "one"]), (["a", "b"], ["a", "b"])]
)
def test_one_context_does_for_all_meshes(contexts: list[str], expected: list[str | None]) -> None:
    """None is the current one; otherwise each has its own."""
    asked = meshes_asked(["red-system/red", "green"], contexts)
    assert [mesh.context for mesh in asked] == expected
    assert [(mesh.namespace, mesh.name) for mesh in asked] == [("red-system", "red"), ("", "green")]


def test_contexts_must_fit_the_meshes() -> None:
    """Two for three is an error."""
    with pytest.raises(LinkError, match=r"3 meshes .* and 2 contexts"):
        meshes_asked(["a", "b", "c"], ["x", "y"])


def peer(*conditions: dict[str, Any], generation: int = 2, **discovery: Any) -> dict[str, Any]:
    status = {"conditions": list(conditions), "discoveryStatus": discovery}
    return {"metadata": {"generation": generation}, "status": status}


READY = {"type": "Ready", "status": "True", "observedGeneration": 2}
CONNECTED = {"watch": {"connected": True}, "remotes": [{"connected": True}]}


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ({}, "not connected yet"),
        (peer(READY), ""),
        (peer({**READY, "observedGeneration": 1}), "has not looked"),
        (peer({**READY, "status": "False", "reason": "Refused", "message": "no"}, active=[CONNECTED]), "Refused: no"),
        (peer({"type": "Accepted", "status": "False", "message": "bad root"}, active=[CONNECTED]), "bad root"),
        (peer(active=[CONNECTED]), ""),
        (peer(active=[{"watch": {"connected": True}, "remotes": [{"connected": False}]}]), "has not connected to us"),
        (peer(active=None, inactive=[{"watch": {"lastDisconnectStatus": "403 Forbidden"}}]), "403 Forbidden"),
        (peer(inactive=[{}]), "not connected yet"),
    ],
)
def test_a_peer_is_ready_by_its_condition_or_its_watches(found: dict[str, Any], why: str) -> None:
    """Both directions must stand; what is missing is told."""
    assert (why in not_ready(found)) if why else not not_ready(found)


VALUES = st.booleans() | st.integers() | st.text(max_size=5)


def nested(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """JSON with these leaves."""
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=8,
    )


JSON = nested(st.none() | VALUES)


@given(JSON, nested(VALUES))
def test_differences_are_there_just_if_something_is_missing(observed: Any, wanted: Any) -> None:
    """A plan never says that it changes something without saying what."""
    assert bool(differences(observed, wanted, "x")) == (not contains(observed, wanted))


@given(JSON)
def test_yaml_is_read_back_as_it_was(content: Any) -> None:
    """Whatever a control plane holds."""
    assert yaml.safe_load(to_yaml(content)) == content


def test_files_are_written_once(tmp_path: Path) -> None:
    """A folder for each mesh; a second time nothing changes; what was changed is written again."""
    plan = plan_link(after(plan_link([mesh("red"), mesh("green")], Options())), Options())
    written = write_files(plan, tmp_path)
    assert {str(each.path.relative_to(tmp_path)) for each in written if each.path.parent.name == "red"} == {
        "red/servicemeshcontrolplane-red.yaml",
        "red/configmap-green-ca-root-cert.yaml",
        "red/servicemeshpeer-green.yaml",
    }
    assert {each.verb for each in write_files(plan, tmp_path)} == {Verb.KEEP}
    written[0].path.write_text("other")
    assert [each.verb for each in write_files(plan, tmp_path)].count(Verb.CHANGE) == 1


def test_peers_without_an_address_are_in_no_file(tmp_path: Path) -> None:
    """A file must be complete: it is written when the address is known."""
    write_files(plan_link([mesh("red"), mesh("green")], Options()), tmp_path)
    assert not list(tmp_path.rglob("servicemeshpeer*"))


def test_what_is_linked_has_the_same_files_as_what_was_written(tmp_path: Path) -> None:
    """Files written before and after applying are the same."""
    names = ("red", "green")
    plan = plan_link(after(plan_link([mesh(name) for name in names], Options())), Options())
    write_files(plan, tmp_path)
    assert {each.verb for each in write_files(plan_link(linked(*names), Options()), tmp_path)} == {Verb.KEEP}
