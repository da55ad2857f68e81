"""Where a container's paths really are. Pods share the host's file system: there is no mount namespace without root.

The rule: in ``command``, ``args``, ``workingDir`` and the values of ``env``, a path that begins with the ``mountPath``
of one of the container's volume mounts is rewritten to the place where the volume really is. A path begins at the start
of the text or after a character that can't be part of one (white space, a quote, ``=``, ``:``, ``,``, ``@``,
a bracket), and the mountPath must end with a component: with ``/etc/conf`` mounted, ``--config=/etc/conf/a.yaml`` is
rewritten, ``/etc/config`` and ``https://host/etc/conf`` are not. Variables are expanded after that, so that a path is
never led twice. A program that has a path compiled in is out of reach: give it an argument, or use the environment
variables that the node sets (``KUBECONFIG``).
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from lightkube.models.core_v1 import VolumeMount

BEFORE = r"(?:(?<=^)|(?<=[\s\"'=:,;@(\[{<>|&]))"
AFTER = r"(?=$|[^\w.\-])"


class UnsafePathError(ValueError):
    """A relative path that would lead out of the directory it is meant for."""


def inside(directory: Path, relative: str) -> Path:
    """``directory/relative``, made sure by name alone that it stays inside.

    Raises UnsafePathError for an absolute path, for ``..`` and for an empty name.
    """
    parts = Path(relative).parts
    if not relative or Path(relative).is_absolute() or ".." in parts or "\0" in relative:
        raise UnsafePathError(f"Placing {relative!r} in a volume: expected a relative path without '..'; correct it")
    return directory.joinpath(*parts)


def mount_point(mount: VolumeMount) -> str:
    """The mountPath without a slash at its end."""
    return mount.mountPath.rstrip("/") or "/"


def mount_table(
    mounts: list[VolumeMount], volumes: Mapping[str, Path], *, expand: Callable[[str], str] = str
) -> dict[str, str]:
    """mountPath to the real place of each mount; ``volumes`` tells where each volume is, ``expand`` what variables are.

    Raises UnsafePathError for a subPath that leads out of its volume, LookupError for a volume the pod does not have.
    """
    table: dict[str, str] = {}
    for mount in mounts:
        if mount.name not in volumes:
            raise LookupError(
                f"Mounting volume {mount.name!r} at {mount.mountPath}: the pod has no volume of that name"
            )
        below = mount.subPath or (expand(mount.subPathExpr) if mount.subPathExpr else "")
        place = volumes[mount.name]
        table[mount_point(mount)] = str(inside(place, below) if below else place)
    return table


def rewrite(text: str, table: Mapping[str, str]) -> str:
    """``text`` with every path that begins with a mountPath led to where that volume is; the longest mountPath wins."""
    if not table or "/" not in text:
        return text
    longest_first = sorted(table, key=len, reverse=True)
    pattern = BEFORE + "(" + "|".join(map(re.escape, longest_first)) + ")" + AFTER
    return re.sub(pattern, lambda found: table[found.group(1)], text)
