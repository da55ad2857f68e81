"""The generated CustomResourceDefinitions."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from isthmus.api.crds import DEFINITIONS, Definition, crd, crds

Schema = dict[str, Any]


def schema(definition: Definition) -> Schema:
    """Return the schema of the whole object."""
    found: Schema = crd(definition)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def nodes(node: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Walk every schema within a schema, with its path."""
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if key in node:
            yield from nodes(node[key], f"{path}{mark}")


every_kind = pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda each: str(each.info.resource.kind))


@every_kind
def test_crd_is_as_reviewed(definition: Definition, golden: Callable[[str, Any], None]) -> None:
    """The definition of each kind is the reviewed one."""
    golden(definition.info.plural, crd(definition))


def test_names() -> None:
    """The short names and the category are those that administrators know."""
    names = {each["spec"]["names"]["shortNames"][0]: each["spec"]["names"]["kind"] for each in crds()}
    assert names == {
        "smp": "ServiceMeshPeer",
        "ess": "ExportedServiceSet",
        "iss": "ImportedServiceSet",
        "smcp": "ServiceMeshControlPlane",
        "smmr": "ServiceMeshMemberRoll",
    }
    assert {tuple(each["spec"]["names"]["categories"]) for each in crds()} == {("maistra-io",)}


@every_kind
def test_schema_is_structural(definition: Definition) -> None:
    """Every node has a type or is an int-or-string, required fields exist, and no list lacks its items."""
    for path, node in nodes(schema(definition)):
        assert "type" in node or node.get("x-kubernetes-int-or-string"), path
        assert set(node.get("required", ())) <= set(node.get("properties", ())), path
        assert node.get("type") != "array" or "items" in node, path


@every_kind
def test_list_maps_require_their_keys(definition: Definition) -> None:
    """The key of a list map is required or has a default, as the API server demands."""
    for path, node in nodes(schema(definition)):
        for key in node.get("x-kubernetes-list-map-keys", ()):
            assert key in node["items"]["required"], path


@every_kind
def test_every_field_is_described(definition: Definition) -> None:
    """``kubectl explain`` has a sentence for every field of ours."""
    undescribed = [
        path
        for path, node in nodes(schema(definition))
        if "description" not in node and path not in {"", ".metadata"} and not path.endswith(("[]", "{}"))
    ]
    assert undescribed == []


def test_control_plane_keeps_unknown_fields_at_every_depth() -> None:
    """What a ServiceMeshControlPlane holds beyond the federation survives."""
    control_plane = next(each for each in DEFINITIONS if each.short_name == "smcp")
    for path, node in nodes(schema(control_plane)["properties"]["spec"]):
        if "properties" in node:
            assert node.get("x-kubernetes-preserve-unknown-fields") is True, path


def test_ports_have_no_default_on_the_server() -> None:
    """A peer's remote is hashed as it is written, so the API server must not fill in the ports."""
    remote = schema(DEFINITIONS[0])["properties"]["spec"]["properties"]["remote"]["properties"]
    assert "default" not in remote["discoveryPort"]
    assert "default" not in remote["servicePort"]
