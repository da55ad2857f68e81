"""What is in a volume, and how it gets there."""

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightkube.models.core_v1 import (
    ConfigMapProjection,
    ConfigMapVolumeSource,
    DownwardAPIVolumeFile,
    DownwardAPIVolumeSource,
    EmptyDirVolumeSource,
    KeyToPath,
    ObjectFieldSelector,
    ProjectedVolumeSource,
    SecretVolumeSource,
    ServiceAccountTokenProjection,
    Volume,
    VolumeProjection,
)
from tests.lab.node.sample import sources

from isthmus.lab.node.mounts import UnsafePathError
from isthmus.lab.node.payload import write_payload
from isthmus.lab.node.sources import MissingSourceError, TokenWish
from isthmus.lab.node.volumes import VolumeFile, is_rendered, render, token_wishes

TOKEN = TokenWish(audience="istio-ca", life_s=600)
MAPS = {"conf": {"a.yaml": "A", "b.yaml": "B"}}
SECRETS = {"tls": {"key": "K"}}


def config(**fields: object) -> Volume:
    return Volume(name="v", configMap=ConfigMapVolumeSource(name="conf", **fields))  # type: ignore[arg-type]  # any of its fields


PROJECTED = Volume(
    name="v",
    projected=ProjectedVolumeSource(
        sources=[
            VolumeProjection(
                serviceAccountToken=ServiceAccountTokenProjection(
                    path="token", audience="istio-ca", expirationSeconds=600
                )
            ),
            VolumeProjection(configMap=ConfigMapProjection(name="conf", items=[KeyToPath(key="a.yaml", path="x/a")])),
        ]
    ),
)


@pytest.mark.parametrize(
    ("volume", "expected"),
    [
        (config(), {"a.yaml": VolumeFile(b"A", 0o600), "b.yaml": VolumeFile(b"B", 0o600)}),
        (config(items=[KeyToPath(key="a.yaml", path="d/x")]), {"d/x": VolumeFile(b"A", 0o600)}),
        (config(items=[KeyToPath(key="a.yaml", path="x", mode=0o444)]), {"x": VolumeFile(b"A", 0o400)}),
        (Volume(name="v", secret=SecretVolumeSource(secretName="tls")), {"key": VolumeFile(b"K", 0o400)}),
        (Volume(name="v", secret=SecretVolumeSource(secretName="none", optional=True)), {}),
        (PROJECTED, {"token": VolumeFile(b"T", 0o400), "x/a": VolumeFile(b"A", 0o600)}),
        (
            Volume(
                name="v",
                downwardAPI=DownwardAPIVolumeSource(
                    items=[DownwardAPIVolumeFile(path="name", fieldRef=ObjectFieldSelector(fieldPath="metadata.name"))]
                ),
            ),
            {"name": VolumeFile(b"web-1", 0o600)},
        ),
    ],
    ids=["config map", "items", "mode", "secret", "optional", "projected", "downward"],
)
def test_render(volume: Volume, expected: dict[str, VolumeFile]) -> None:
    """Each kind of volume has the files that its sources call for, for the owner's eyes only."""
    assert render(volume, sources(maps=MAPS, secrets=SECRETS, tokens={TOKEN: "T"})) == expected


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        (Volume(name="v", configMap=ConfigMapVolumeSource(name="none")), 'configmap "none" not found'),
        (Volume(name="v", secret=SecretVolumeSource(secretName="none")), 'secret "none" not found'),
        (config(items=[KeyToPath(key="zzz", path="x")]), 'configmap "conf" has no key zzz'),
        (PROJECTED, "token for audience 'istio-ca' is not there yet"),
    ],
    ids=["config map", "secret", "key", "token"],
)
def test_missing(volume: Volume, message: str) -> None:
    """What is missing is told by name: the pod waits for it."""
    with pytest.raises(MissingSourceError, match=message):
        render(volume, sources(maps=MAPS))


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", "..data", "..data/x"])
def test_paths_that_lead_out(path: str) -> None:
    """No item can be placed outside of its volume, nor over the writer's own link."""
    with pytest.raises(UnsafePathError):
        render(config(items=[KeyToPath(key="a.yaml", path=path)]), sources(maps=MAPS))


def test_token_wishes() -> None:
    """The tokens that a pod needs are known from its volumes."""
    assert token_wishes([PROJECTED, config()]) == {TOKEN}


def test_which_volumes_are_written() -> None:
    """An emptyDir is only a directory."""
    assert is_rendered(PROJECTED)
    assert not is_rendered(Volume(name="v", emptyDir=EmptyDirVolumeSource()))


def contents(volume: Path) -> dict[str, bytes]:
    names = [path for path in volume.iterdir() if not path.name.startswith("..")]
    files = [file for name in names for file in ([name] if name.is_file() else name.rglob("*")) if file.is_file()]
    return {str(file.relative_to(volume)): file.read_bytes() for file in files}


def test_an_open_file_keeps_its_content(tmp_path: Path) -> None:
    """An update replaces the whole content in one step: what is open stays as it was, what is opened anew is new."""
    write_payload(tmp_path / "v", {"a": VolumeFile(b"old", 0o600), "gone": VolumeFile(b"x", 0o600)})
    with (tmp_path / "v" / "a").open("rb") as old:
        assert write_payload(tmp_path / "v", {"a": VolumeFile(b"new", 0o600)})
        assert old.read() == b"old"
    assert contents(tmp_path / "v") == {"a": b"new"}
    assert len(list((tmp_path / "v").iterdir())) == 3  # the file's link, ..data, and where it leads


def test_nothing_changes_if_nothing_changed(tmp_path: Path) -> None:
    """The same content is not written again."""
    files = {"a": VolumeFile(b"x", 0o600)}
    assert write_payload(tmp_path / "v", files)
    assert not write_payload(tmp_path / "v", files)


def test_modes(tmp_path: Path) -> None:
    """Nobody but the owner can read a volume."""
    write_payload(tmp_path / "v", {"d/secret": VolumeFile(b"x", 0o400)})
    assert stat.S_IMODE((tmp_path / "v").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "v" / "d").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "v" / "d" / "secret").stat().st_mode) == 0o400


NAMES = st.sampled_from(["a", "b", "d/a", "d/b", "e/f/g"])


@given(st.lists(st.dictionaries(NAMES, st.binary(max_size=8)), min_size=1, max_size=5))
def test_the_volume_is_what_was_written_last(
    tmp_path_factory: pytest.TempPathFactory, steps: list[dict[str, bytes]]
) -> None:
    """After any sequence of updates the volume holds the last one and nothing else."""
    volume = tmp_path_factory.mktemp("volume") / "v"
    for files in steps:
        write_payload(volume, {path: VolumeFile(content, 0o600) for path, content in files.items()})
        assert contents(volume) == files
