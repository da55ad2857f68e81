"""What the documents state as facts is what the code does: fields, ports, messages, checksums, packages."""

import re
import tomllib
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import yaml
from tests.docs.markdown import REPOSITORY, blocks, headings

from isthmus.api.crds import crds
from isthmus.federation import checks, checksum, plan, ports
from isthmus.federation.catalogue import Catalogue
from isthmus.federation.causes import BY_REASON
from isthmus.federation.messages import LinkView, ServiceList, parse_service_list, parse_watch_event
from isthmus.gateway.settings import GatewaySettings
from isthmus.pilot import settings

ARCHITECTURE = (REPOSITORY / "docs" / "architecture.md").read_text()
REFERENCE = (REPOSITORY / "docs" / "reference.md").read_text()
PROTOCOL = REPOSITORY / "docs" / "protocol.md"


def _fields(schema: dict[str, Any]) -> Iterator[str]:
    for name, inner in schema.get("properties", {}).items():
        yield name
        yield from _fields(inner)
    for inner in (schema.get("items"), schema.get("additionalProperties")):
        if isinstance(inner, dict):
            yield from _fields(inner)


@pytest.mark.parametrize("definition", crds(), ids=lambda each: each["spec"]["names"]["kind"])
def test_every_field_is_described(definition: dict[str, Any]) -> None:
    """The reference names every field of spec and status, and every short name."""
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    names = {*_fields(schema["spec"]), *_fields(schema["status"]), *definition["spec"]["names"]["shortNames"]}
    assert [name for name in sorted(names - CONDITIONS) if not re.search(rf"\b{name}\b", REFERENCE)] == []


CONDITIONS = {
    "conditions",
    "lastTransitionTime",
    "message",
    "observedGeneration",
    "status",
    "key",
    "operator",
    "values",
}
"""Known from Kubernetes: conditions as everywhere, and the parts of a label selector's expression."""


def test_every_port_is_described() -> None:
    """The architecture names every port that a process listens on."""
    of_pilot = [value for name, value in vars(settings).items() if name.endswith("_PORT")]
    defaults = {field.name: field.default for field in GatewaySettings.__dataclass_fields__.values()}
    of_gateways = [
        defaults["agent_port"],
        defaults["ready_port"],
        defaults["stats_port"],
        plan.SERVICE_PORT,
        ports.FIRST_PORT,
        ports.LAST_PORT,
    ]
    assert [port for port in (*of_pilot, *of_gateways) if str(port) not in ARCHITECTURE] == []


def test_every_annotation_is_described() -> None:
    """The architecture names every label and annotation of ours."""
    sources = (path.read_text() for path in (REPOSITORY / "src").rglob("*.py"))
    marks = {mark for source in sources for mark in re.findall(r'"(isthmus\.io/[\w-]+)"', source)}
    assert marks
    assert [mark for mark in sorted(marks) if f"`{mark}`" not in ARCHITECTURE] == []


def test_the_messages_of_the_protocol_are_messages() -> None:
    """The examples of list, event and view are read as such; their checksums are those of their content."""
    listed, event, view = (block.code.encode() for block in blocks(PROTOCOL) if block.language == "json")
    services = parse_service_list(listed)
    known = Catalogue(services.services)
    assert known.checksum == services.checksum
    deleted = parse_watch_event(event)
    known.remove(deleted.service.hostname)
    assert known.checksum == deleted.checksum
    assert msgspec.json.decode(view, type=LinkView, strict=True).exports == 1


def test_the_checksums_of_the_protocol_are_right() -> None:
    """The table of numbers to check by is what the code computes."""
    table = [int(number) for number in re.findall(r"^\|.*\| `(\d+)` \|$", PROTOCOL.read_text(), re.MULTILINE)]
    address = ["ingress-red-mesh.green-mesh-system.apps.green.test"]
    listed = msgspec.json.decode(blocks(PROTOCOL)[1].code, type=ServiceList)
    assert table == [
        Catalogue().checksum,
        listed.checksum,
        checksum.remote_checksum(address, discovery_port=0, service_port=0),
        checksum.remote_checksum(address, discovery_port=8188, service_port=15443),
    ]


def test_every_dependency_has_a_reason() -> None:
    """docs/dependencies.md has a row for each package of pyproject.toml, and no other."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    names = {re.split(r"[<>=!~;\[ ]", requirement, maxsplit=1)[0] for requirement in wanted}
    told = re.findall(r"^\| `([\w-]+)` \|", (REPOSITORY / "docs" / "dependencies.md").read_text(), re.MULTILINE)
    assert sorted(told) == sorted(names)


@pytest.mark.parametrize("block", list(blocks(REPOSITORY / "docs" / "reference.md")))
def test_yaml_of_the_reference_is_yaml(block: Any) -> None:
    """Examples in the reference parse."""
    assert block.language == "yaml"
    assert isinstance(yaml.safe_load(block.code), dict)


def test_every_room_is_described() -> None:
    """The architecture names every package and every loose module of the project."""
    top = REPOSITORY / "src" / "isthmus"
    rooms = [path.name for path in top.iterdir() if path.is_dir() and (path / "__init__.py").exists()]
    loose = [path.name for path in top.glob("*.py") if path.name != "__init__.py"]
    assert [name for name in sorted([*rooms, *loose]) if f"`{name}`" not in ARCHITECTURE] == []


def test_the_diagnosis_is_that_of_the_code() -> None:
    """docs/diagnosis.md has every step in order, and every cause that only a check finds, as the table of the code."""
    diagnosis = (REPOSITORY / "docs" / "diagnosis.md").read_text()
    assert tuple(re.findall(r"^\| `([a-z-]+)` \| ", diagnosis, re.MULTILINE)) == checks.STEPS
    for cause in checks.CHECK_CAUSES.values():
        assert f"| `{cause.reason}` | {cause.side} | {cause.meaning} | {cause.action} |" in diagnosis


@pytest.mark.parametrize("reason", [*BY_REASON, *checks.CHECK_CAUSES])
def test_the_page_of_a_failed_step_is_there(reason: str) -> None:
    """The document and the heading to which a failed step leads exist."""
    document, _, anchor = checks.failed("tcp", reason, "").page.partition("#")
    assert anchor in {heading.anchor for heading in headings(REPOSITORY / document)}


def test_the_lines_of_rooms_are_those_that_are_checked() -> None:
    """The decision about rooms draws the lines that import-linter checks, and every module has its place in them."""
    decision = REPOSITORY / "docs" / "adr" / "0001-rooms-and-direction-of-imports.md"
    [drawn] = [block.code for block in blocks(decision) if block.language == "text"]
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    lines = [set(line.split(" | ")) for line in next(one["layers"] for one in settings if one["type"] == "layers")]
    assert [set(line.split()) for line in drawn.splitlines()] == lines
    rooms = {path.parent.name for path in (REPOSITORY / "src" / "isthmus").glob("*/__init__.py")}
    modules = {path.stem for path in (REPOSITORY / "src" / "isthmus").glob("*.py")} - {"__init__"}
    assert rooms | modules == {"lab"}.union(*lines)
