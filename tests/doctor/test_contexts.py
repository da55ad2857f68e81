"""Contexts of kubeconfigs."""

from pathlib import Path

import pytest
import yaml

from isthmus.doctor.contexts import ContextError, context_names, load_context


def config(*names: str, current: str = "") -> str:
    """A kubeconfig with a cluster and a user for each context."""
    return yaml.safe_dump(
        {
            "current-context": current or None,
            "clusters": [{"name": name, "cluster": {"server": f"https://{name}:6443"}} for name in names],
            "users": [{"name": name, "user": {"token": "t"}} for name in names],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}} for name in names],
        }
    )


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_of_two_files_the_first_that_has_the_context_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """$KUBECONFIG may list files; the current context is the first that one of them sets, and is named first."""
    files = [
        write(tmp_path, "one", config("red", "green")),
        write(tmp_path, "two", config("green", "blue", current="blue")),
    ]
    monkeypatch.setenv("KUBECONFIG", ":".join(map(str, [*files, tmp_path / "missing"])))
    assert context_names() == ("blue", "red", "green")
    assert load_context().context_name == "blue"
    assert load_context("green").fname == files[0]
    assert load_context("red").cluster.server == "https://red:6443"


def test_an_unknown_context_is_an_error_that_lists_the_known(tmp_path: Path) -> None:
    """The message has the name, the file and what there is."""
    file = write(tmp_path, "config", config("red", "green"))
    with pytest.raises(ContextError, match=rf"No context 'blue' in {file}: there are red, green"):
        load_context("blue", file)
    with pytest.raises(ContextError, match="No current context"):
        load_context(None, file)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[", "no kubeconfig"),
        ("[" * 10_000, "no kubeconfig"),
        ("a: !!int ''", "no kubeconfig"),
        ("a: 2026-13-45", "no kubeconfig"),
        ("a: 1", "no kubeconfig"),
        ("- 1", "no kubeconfig"),
        ("", "no kubeconfig"),
        (config("red").replace("user: red", "user: someone"), "cluster or user"),
        (config("red").replace("    user: red\n", ""), "names no user"),
    ],
)
def test_a_broken_file_is_an_error(tmp_path: Path, text: str, says: str) -> None:
    """Whatever the file holds, the message says what is wrong with it."""
    with pytest.raises(ContextError, match=says):
        load_context("red", write(tmp_path, "config", text))


def test_no_file_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any file, the message says where one was looked for."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nothing"))
    with pytest.raises(ContextError, match="nothing"):
        context_names()
    with pytest.raises(ContextError, match="nowhere"):
        context_names(tmp_path / "nowhere")
