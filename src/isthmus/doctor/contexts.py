"""The contexts of a kubeconfig, by name, and the connection to one of them.

Source: Kubernetes documentation, "Organizing Cluster Access Using kubeconfig Files": $KUBECONFIG may list several
files; of two contexts with one name, the first counts.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import yaml
from lightkube.config.kubeconfig import DEFAULT_KUBECONFIG, KubeConfig, SingleConfig
from lightkube.core.exceptions import ConfigError

from isthmus.kube import Client
from isthmus.kube import connect as connect_to

FIELD_MANAGER = "isthmus"


class ContextError(Exception):
    """There is no such context, or it cannot be used; the message says which there are."""


def context_names(kubeconfig: Path | None = None) -> tuple[str, ...]:
    """The names of all contexts, the current one first. Blocks. Raises ContextError: a file cannot be read."""
    configs = _configs(kubeconfig)
    current = [config.current_context for config in configs if config.current_context]
    names = [name for config in configs for name in config.contexts]
    return tuple(dict.fromkeys((*(name for name in current[:1] if name in names), *names)))


def load_context(name: str | None = None, kubeconfig: Path | None = None) -> SingleConfig:
    """The configuration of the context of that name, without one that of the current context. Blocks.

    Raises:
        ContextError: a file cannot be read, there is no such context, or its cluster or user is not there.
    """
    configs = _configs(kubeconfig)
    wanted = name or next((each.current_context for each in configs if each.current_context), None)
    if wanted is None:
        raise ContextError(f"No current context in {_where(configs)}: name one of {_listed(configs)}")
    config = next((each for each in configs if wanted in each.contexts), None)
    if config is None:
        raise ContextError(f"No context {wanted!r} in {_where(configs)}: there are {_listed(configs)}")
    try:
        found = config.get(wanted)
    except (ConfigError, KeyError) as error:
        raise ContextError(
            f"Context {wanted!r} names a cluster or user that {config.fname} has not: {error}"
        ) from error
    if found is None or found.user is None:
        raise ContextError(f"Context {wanted!r} of {config.fname} names no user: expected a cluster and a user")
    return found


@asynccontextmanager
async def connect(
    context: str | None = None, *, kubeconfig: Path | None = None, field_manager: str = FIELD_MANAGER
) -> AsyncIterator[Client]:
    """Connect to the API server of a context (None: the current one), and close the connections at the end.

    Raises ContextError if there is no such context; nothing is asked of the server yet.
    """
    config = await asyncio.to_thread(load_context, context, kubeconfig)
    async with connect_to(field_manager=field_manager, config=config) as client:
        yield client


def _configs(kubeconfig: Path | None) -> list[KubeConfig]:
    """The files that there are, in order; one that was asked for by name must be there."""
    if kubeconfig is not None:
        return [_read(kubeconfig)]
    named = [Path(part) for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    files = named or [Path(DEFAULT_KUBECONFIG).expanduser()]
    there = [file for file in files if file.is_file()]
    if not there:
        listed = ", ".join(map(str, files))
        raise ContextError(f"No Kubernetes configuration at {listed}: set KUBECONFIG, or give --kubeconfig")
    return [_read(file) for file in there]


def _read(file: Path) -> KubeConfig:
    try:
        return KubeConfig.from_file(file)
    except ConfigError as error:
        raise ContextError(f"Reading the Kubernetes configuration {file}: {error}") from error
    except OSError as error:
        raise ContextError(f"Reading the Kubernetes configuration {file}: {error.strerror}") from error
    except (
        yaml.YAMLError,
        msgspec.MsgspecError,
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        raise ContextError(f"Reading the Kubernetes configuration {file}: it is no kubeconfig: {error!r}") from error


def _where(configs: Sequence[KubeConfig]) -> str:
    return ", ".join(str(config.fname) for config in configs)


def _listed(configs: Sequence[KubeConfig]) -> str:
    return ", ".join(name for config in configs for name in config.contexts) or "none"
