"""Writing a volume's files so that a reader sees all of the old or all of the new, never a mixture.

As kubelet does it: the files lie in a directory of their own, ``..data`` is a symbolic link to it that is replaced
in one step, and the names in the volume are links through ``..data``.
"""

import os
import secrets
import shutil
from pathlib import Path, PurePosixPath

from isthmus.lab.node.volumes import Files

DATA = "..data"


def write_payload(volume: Path, files: Files) -> bool:
    """Bring a volume's directory to ``files``; True if anything changed. Directories are 0700."""
    volume.mkdir(mode=0o700, parents=True, exist_ok=True)
    current = volume / DATA
    if current.is_symlink() and _read(current.resolve()) == {path: file.content for path, file in files.items()}:
        return False
    fresh = volume / f"..{secrets.token_hex(6)}"
    for path, file in files.items():
        _write(fresh / path, file.content, mode=file.mode)
    fresh.mkdir(mode=0o700, exist_ok=True)
    old = volume / current.readlink() if current.is_symlink() else None
    _replace_link(current, fresh.name)
    _link_names(volume, {PurePosixPath(path).parts[0] for path in files})
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)
    return True


def _read(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def _write(path: Path, content: bytes, *, mode: int) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _replace_link(link: Path, target: str) -> None:
    fresh = link.with_name(f"{DATA}_tmp")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.rename(link)


def _link_names(volume: Path, names: set[str]) -> None:
    for entry in list(volume.iterdir()):
        if entry.is_symlink() and not entry.name.startswith("..") and entry.name not in names:
            entry.unlink()
    for name in names:
        if not (volume / name).is_symlink():
            (volume / name).symlink_to(f"{DATA}/{name}")
