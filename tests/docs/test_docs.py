"""The documents hold together: links, citations, commands, the two READMEs."""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from tests.docs.markdown import DOCUMENTS, REPOSITORY, Block, blocks, headings, prose, relative_links

README = REPOSITORY / "README.md"
README_ZH = REPOSITORY / "README.zh-CN.md"
SOURCES = sorted([*(REPOSITORY / "src").rglob("*.py"), *(REPOSITORY / "tests").rglob("*.py")])

_NUMBER = r"§\d+(?:\.\d+)*"
_CITATION = re.compile(
    rf'\b(docs/[\w./-]+\.md)((?:(?:,| and| to)? {_NUMBER})*)((?:(?:,| and)? "[^"\n]{{1,80}}")*)',
)


@dataclass(frozen=True, slots=True)
class Citation:
    """``docs/protocol.md §2, "Messages"`` in a source file."""

    source: Path
    document: str
    numbers: tuple[str, ...]
    titles: tuple[str, ...]


def _citations() -> Iterator[Citation]:
    for source in SOURCES:
        if source.parent == Path(__file__).parent:
            continue
        flat = re.sub(r"\s+", " ", source.read_text())
        for document, numbers, titles in _CITATION.findall(flat):
            found = re.findall(r"\d+(?:\.\d+)*", numbers), re.findall(r'"([^"]+)"', titles)
            yield Citation(source.relative_to(REPOSITORY), document, tuple(found[0]), tuple(found[1]))


CITATIONS = list(_citations())


@pytest.mark.parametrize("citation", CITATIONS, ids=lambda each: f"{each.source}: {each.document}")
def test_citations_resolve(citation: Citation) -> None:
    """What the code cites of the documents exists: the file, the section's number, the section's title."""
    path = REPOSITORY / citation.document
    assert path.is_file()
    known = headings(path)
    assert set(citation.numbers) <= {heading.number for heading in known}
    assert set(citation.titles) <= {heading.title for heading in known}


def test_citations_are_found() -> None:
    """Numbers and titles are read from docstrings also where these break the line."""
    assert {citation.document for citation in CITATIONS} >= {"docs/architecture.md", "docs/protocol.md"}
    assert any("How workloads reach what is imported" in citation.titles for citation in CITATIONS)
    assert any(len(citation.numbers) > 1 for citation in CITATIONS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_links_resolve(document: Path) -> None:
    """Every relative link leads to a file, and its fragment to a heading of that file."""
    for link in relative_links(document):
        target, _, fragment = link.partition("#")
        path = (document.parent / target).resolve() if target else document
        assert path.exists(), link
        assert not fragment or fragment in {heading.anchor for heading in headings(path)}, link


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_targets_exist(document: Path) -> None:
    """Every ``make`` target that a document tells to run is in the Makefile."""
    makefile = (REPOSITORY / "Makefile").read_text()
    text = prose(document) + "".join(block.code for block in blocks(document) if block.language == "sh")
    for target in re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.slow
def test_the_command_line_is_described() -> None:
    """docs/cli.md is what the command line says of itself; ``make docs`` writes it."""
    command = [sys.executable, "-m", "typer", "isthmus.cli.app", "utils", "docs"]
    title = ["--name", "isthmus", "--title", "The command line"]
    said = subprocess.run([*command, *title], check=True, capture_output=True, text=True, cwd=REPOSITORY).stdout
    assert said.strip() == (REPOSITORY / "docs" / "cli.md").read_text().strip()


@pytest.mark.parametrize("block", [block for block in blocks(README) if block.language == "yaml"])
def test_yaml_of_the_readme_is_that_of_the_examples(block: Block) -> None:
    """A resource in the README names the example that it is, and is equal to it."""
    named = re.match(r"# (examples/\S+\.yaml)\n", block.code)
    assert named
    assert yaml.safe_load(block.code) == yaml.safe_load((REPOSITORY / named[1]).read_text())


def test_every_example_of_the_readme_exists() -> None:
    """The files that the README applies are there, and no file of the examples is left out."""
    told = set(re.findall(r"examples/two-meshes/\S+?\.yaml", README.read_text()))
    there = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "examples" / "two-meshes").rglob("*.yaml")}
    assert told == there


def test_the_readmes_say_the_same() -> None:
    """Both READMEs have the same code, the same headings by level, and the same table rows and links."""
    assert blocks(README) == blocks(README_ZH)
    assert [heading.level for heading in headings(README)] == [heading.level for heading in headings(README_ZH)]
    assert _rows(README) == _rows(README_ZH)
    here, there = ({link for link in relative_links(path) if "#" not in link} for path in (README, README_ZH))
    assert here - {"README.zh-CN.md"} == there - {"README.md"}


def _rows(path: Path) -> int:
    return len(re.findall(r"^\|", prose(path), re.MULTILINE))
