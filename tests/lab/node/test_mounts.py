"""Where a container's paths really are."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightkube.models.core_v1 import VolumeMount

from isthmus.lab.node.mounts import UnsafePathError, inside, mount_table, rewrite

TABLE = {"/etc/conf": "/R/conf", "/etc/conf/deep": "/R/deep", "/": "/R/root"}
PLAIN = {"/etc/conf": "/R/conf", "/etc/conf/deep": "/R/deep"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/etc/conf", "/R/conf"),
        ("/etc/conf/", "/R/conf/"),
        ("/etc/conf/a", "/R/conf/a"),
        ("/etc/conf/deep/a", "/R/deep/a"),
        ("/etc/conf/deeper", "/R/conf/deeper"),
        ("/etc/config", "/etc/config"),
        ("/etc/conf.d/a", "/etc/conf.d/a"),
        ("/etc/conf-x", "/etc/conf-x"),
        ("x/etc/conf", "x/etc/conf"),
        ("https://host/etc/conf", "https://host/etc/conf"),
        ("--config=/etc/conf/a", "--config=/R/conf/a"),
        ("a:/etc/conf:/etc/conf/deep", "a:/R/conf:/R/deep"),
        ("cat /etc/conf/a; ls '/etc/conf'", "cat /R/conf/a; ls '/R/conf'"),
        ("@/etc/conf/a,/etc/conf/b", "@/R/conf/a,/R/conf/b"),
        ("nothing", "nothing"),
    ],
)
def test_rewrite(text: str, expected: str) -> None:
    """A path that begins with a mountPath is led to its volume; the longest mountPath wins; other text stays."""
    assert rewrite(text, PLAIN) == expected


@given(st.text(alphabet="/etconfdp =:.-", max_size=40))
def test_without_mounts_nothing_changes(text: str) -> None:
    """No mounts, no rewriting."""
    assert rewrite(text, {}) == text


@pytest.mark.parametrize("path", ["", "..", "a/../../b", "/etc/passwd", "a/..", "a\0b"])
def test_paths_that_lead_out(path: str) -> None:
    """Absolute paths, ``..`` and empty names never leave a volume."""
    with pytest.raises(UnsafePathError, match="expected a relative path"):
        inside(Path("/volume"), path)


def test_table() -> None:
    """Each mount is the place of its volume, or of its subPath within."""
    mounts = [
        VolumeMount(name="conf", mountPath="/etc/conf/"),
        VolumeMount(name="conf", mountPath="/one/file.yaml", subPath="a/file.yaml"),
    ]
    assert mount_table(mounts, {"conf": Path("/R/conf")}) == {
        "/etc/conf": "/R/conf",
        "/one/file.yaml": "/R/conf/a/file.yaml",
    }


def test_table_of_an_unknown_volume() -> None:
    """A mount of a volume that the pod does not have is an error with its name."""
    with pytest.raises(LookupError, match="volume 'none' at /x: the pod has no volume of that name"):
        mount_table([VolumeMount(name="none", mountPath="/x")], {})


def test_table_of_a_sub_path_that_leads_out() -> None:
    """A subPath can't leave its volume."""
    with pytest.raises(UnsafePathError):
        mount_table([VolumeMount(name="v", mountPath="/x", subPath="../other")], {"v": Path("/R")})
