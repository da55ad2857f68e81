"""YAML is read within bounds, with the place of everything."""

import tracemalloc
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.doctor.lint.files import NOW, linted, two_meshes

from isthmus.doctor.lint import Source, lint
from isthmus.doctor.lint.nodes import MAX_BYTES, MAX_DEPTH, Node, Reader, UnreadableError


def parse(text: str | bytes) -> list[Node]:
    return Reader().parse("f", text if isinstance(text, bytes) else text.encode())


BOMB = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "no YAML"),
        ("a: b: c", "no YAML"),
        (b"\xff\xfe\x00", "no YAML"),
        (b"a: \x00", "no YAML"),
        ("a: *b", "no YAML"),
        (BOMB, "more than 200000 values in all"),
        ("a: &a {b: *a}", "nested deeper than 64 levels by aliases"),
        ("[" * 10_000, "nested deeper than 64 levels"),
        ("a: " + "[" * 1_000_000, "nested deeper than 64 levels"),
        ("- " * 1_000_000, "nested deeper than 64 levels"),
        ("a:\n---\n" + "{a: " * 100_000, "nested deeper than 64 levels"),
        ("{a: " * 100 + "b" + "}" * 100, "nested deeper than 64 levels"),
        (b"#" * (MAX_BYTES + 1), "expected 4194304 at most"),
    ],
)
def test_what_is_no_yaml_or_too_much_is_refused(text: str | bytes, says: str) -> None:
    """Soon, and with the place."""
    with pytest.raises(UnreadableError, match=says) as error:
        parse(text)
    assert error.value.place.file == "f"


def test_what_is_too_much_is_refused_before_it_is_built() -> None:
    """Four megabytes of small values would be six hundred, and take seconds, if all of it were read first."""
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableError, match="values in all"):
            parse("-\n" * 2_000_000)
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()


def test_what_is_allowed_is_read() -> None:
    """As deep as the limit, and an alias as what it stands for."""
    assert parse("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    (node,) = parse("a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}\nf: {<<: [{g: 1}, {g: 2}], b: 3}")
    assert node.plain() == {"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1, "e": 2}, "f": {"g": 1, "b": 3}}
    assert str(node.where("d", "e")) == "f:3:16"
    assert str(node.keys["c"]) == "f:2:1"
    assert node.at("a", "b", "c") is None
    assert node.where("a", "nothing") == node.where("a")


def test_all_texts_of_a_run_share_the_limit() -> None:
    """Many files that are each within bounds are too much together."""
    reader = Reader()
    text = ("[" + "x," * 36_000 + "]").encode()
    for _ in range(5):
        reader.parse("f", text)
    with pytest.raises(UnreadableError, match="values in all"):
        reader.parse("f", text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8188", 8188),
        ("'8188'", "8188"),
        ("true", True),
        ("~", None),
        ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"),
        ("1.5", 1.5),
        ("!!binary aGk=", "aGk="),
        ("!custom x", "x"),
        ("9" * 5000, "9" * 5000),
        ("0x_", "0x_"),
        ("0xffffffffffffffff", 2**64 - 1),
        ("0x10000000000000000", 2.0**64),
        ("0x" + "f" * 8000, "0x" + "f" * 8000),
    ],
)
def test_scalars_are_what_json_has(text: str, value: Any) -> None:
    """Whatever cannot be a number stays a text."""
    assert parse(f"a: {text}")[0].plain() == {"a": value}


INTEGERS = st.integers(-(2**63), 2**63 - 1)
"""Those that stay integers."""
VALUES = st.none() | st.booleans() | INTEGERS | st.text(alphabet=st.characters(codec="utf-8"), max_size=6)
JSON = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abz", max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(JSON)
def test_values_are_read_as_a_loader_reads_them(value: Any) -> None:
    """Where they stand is all that is added."""
    assert parse(yaml.safe_dump({"a": value}))[0].plain() == {"a": value}


@given(st.binary(max_size=200) | st.text("&*[]{}:-,<>|'\"ab \n\t%!", max_size=80).map(str.encode))
@settings(max_examples=300)
def test_no_bytes_end_in_a_traceback(text: bytes) -> None:
    """Whatever comes is read or refused."""
    lint([Source("f", text)], now=NOW)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything in a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(each for name, one in inner for each in paths(one, (*path, name)))]


@given(st.data())
@settings(max_examples=150)
def test_no_value_in_the_wrong_place_ends_in_a_traceback(data: st.DataObject) -> None:
    """Anything in any place of any resource is taken or told, and told with a place in the file."""
    files = two_meshes()
    file = data.draw(st.sampled_from(sorted(name for name in files if "rating" not in name and "client" not in name)))
    documents = [each for each in yaml.safe_load_all(files[file]) if each]
    path = data.draw(st.sampled_from(paths(documents)[1:]))
    target: Any = documents
    for part in path[:-1]:
        target = target[part]
    target[path[-1]] = data.draw(JSON)
    files[file] = yaml.safe_dump_all(documents)
    for finding in linted(files).findings:
        assert 1 <= finding.place.line <= files[finding.place.file].count("\n") + 1
