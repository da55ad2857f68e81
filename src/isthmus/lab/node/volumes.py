"""What each volume of a pod contains, as a function of its sources (core/v1 Volume; "Projected Volumes")."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from lightkube.models.core_v1 import DownwardAPIVolumeFile, KeyToPath, Volume, VolumeProjection

from isthmus.lab.node.mounts import UnsafePathError, inside
from isthmus.lab.node.sources import DEFAULT_TOKEN_LIFE_S, MissingSourceError, MissingTokenError, Sources, TokenWish

READABLE, OWNER, OWNER_READS, DEFAULT = 0o400, 0o700, 0o500, 0o644


@dataclass(frozen=True, slots=True)
class VolumeFile:
    """One file of a volume. Of the mode that a pod asks for only the owner's part counts: the host is shared."""

    content: bytes
    mode: int


Files = dict[str, VolumeFile]


def is_rendered(volume: Volume) -> bool:
    """Whether the node writes this volume's files, rather than only making a directory or pointing at one."""
    sources = (volume.configMap, volume.secret, volume.projected, volume.downwardAPI)
    return any(source is not None for source in sources)


def token_wishes(volumes: list[Volume]) -> set[TokenWish]:
    """The service account tokens that these volumes ask for."""
    projected = (volume.projected for volume in volumes if volume.projected is not None)
    pieces = (piece.serviceAccountToken for source in projected for piece in source.sources or [])
    return {_wish(piece) for piece in pieces if piece is not None}


def _wish(piece: Any) -> TokenWish:
    return TokenWish(audience=piece.audience or "", life_s=piece.expirationSeconds or DEFAULT_TOKEN_LIFE_S)


def render(volume: Volume, sources: Sources) -> Files:
    """The files of a volume by path relative to it.

    Raises MissingSourceError for a source or key that is not there, UnsafePathError for a path that leads out.
    """
    if (config := volume.configMap) is not None:
        values = sources.config_map(config.name or "", optional=bool(config.optional))
        return _pick(values, config, what=f'configmap "{config.name}"', mode=_mode(config.defaultMode))
    if (secret := volume.secret) is not None:
        values = sources.secret(secret.secretName or "", optional=bool(secret.optional))
        mode = _mode(secret.defaultMode) & OWNER_READS
        return _pick(values, secret, what=f'secret "{secret.secretName}"', mode=mode)
    if (downward := volume.downwardAPI) is not None:
        return _downward(downward.items, sources, mode=_mode(downward.defaultMode))
    files: Files = {}
    if (projected := volume.projected) is not None:
        for piece in projected.sources or []:
            files |= _projected(piece, sources, mode=_mode(projected.defaultMode))
    return files


def _projected(piece: VolumeProjection, sources: Sources, *, mode: int) -> Files:
    if (token := piece.serviceAccountToken) is not None:
        wish = _wish(token)
        if wish not in sources.tokens:
            raise MissingTokenError(f"service account token for audience {wish.audience!r} is not there yet")
        return {_checked(token.path): VolumeFile(sources.tokens[wish].encode(), mode & OWNER_READS)}
    if (config := piece.configMap) is not None:
        values = sources.config_map(config.name or "", optional=bool(config.optional))
        return _pick(values, config, what=f'configmap "{config.name}"', mode=mode)
    if (secret := piece.secret) is not None:
        values = sources.secret(secret.name or "", optional=bool(secret.optional))
        return _pick(values, secret, what=f'secret "{secret.name}"', mode=mode & OWNER_READS)
    if piece.downwardAPI is not None:
        return _downward(piece.downwardAPI.items, sources, mode=mode)
    raise LookupError("Rendering a projected volume: this node knows tokens, configMap, secret and downwardAPI only")


def _downward(items: list[DownwardAPIVolumeFile] | None, sources: Sources, *, mode: int) -> Files:
    return {
        _checked(item.path): VolumeFile(_told(item, sources).encode(), mode if item.mode is None else _mode(item.mode))
        for item in items or []
    }


def _told(item: DownwardAPIVolumeFile, sources: Sources) -> str:
    if item.fieldRef is not None:
        return sources.field(item.fieldRef.fieldPath)
    if item.resourceFieldRef is not None:
        return sources.resource(item.resourceFieldRef)
    raise LookupError(f"Rendering {item.path!r} of a downwardAPI volume: expected a fieldRef or a resourceFieldRef")


class _Selection(Protocol):
    """Which keys of a ConfigMap or Secret a volume shows, and as which files."""

    items: list[KeyToPath] | None
    optional: bool | None


def _pick(values: Mapping[str, bytes], source: _Selection, *, what: str, mode: int) -> Files:
    if source.items is None:
        return {_checked(key): VolumeFile(value, mode) for key, value in values.items()}
    absent = [item.key for item in source.items if item.key not in values]
    if absent and not source.optional:
        raise MissingSourceError(f"{what} has no key {absent[0]}")
    present = [item for item in source.items if item.key in values]
    return {_checked(i.path): VolumeFile(values[i.key], mode if i.mode is None else _mode(i.mode)) for i in present}


def _mode(wished: int | None) -> int:
    return (DEFAULT if wished is None else wished) & OWNER | READABLE  # the node itself must read it


def _checked(path: str) -> str:
    """The path if it stays in its volume; ``..data`` is the writer's own."""
    inside(Path("/"), path)
    if PurePosixPath(path).parts[0].startswith(".."):
        raise UnsafePathError(f"Placing {path!r} in a volume: names that begin with '..' are reserved; choose another")
    return path
