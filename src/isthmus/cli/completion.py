"""What a shell offers when one presses Tab: names from the kubeconfig and from the clusters.

Silent when a cluster does not answer. The room is imported when it is needed, as by the commands.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer


def contexts(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of contexts."""
    from isthmus.doctor.known_names import known_contexts

    return _starting(known_contexts(_kubeconfig(ctx)), incomplete)


def context_list(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of contexts after a comma, those before it left out."""
    from isthmus.doctor.known_names import known_contexts

    before, comma, begun = incomplete.rpartition(",")
    taken = before.split(",")
    names = [name for name in known_contexts(_kubeconfig(ctx)) if name not in taken]
    return [f"{before}{comma}{name}" for name in _starting(names, begun)]


def meshes(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of ServiceMeshControlPlanes that are not there yet, with their namespaces where two have one name."""
    from isthmus.doctor.known_names import MESHES

    found = _objects(ctx, MESHES)
    count = Counter(name for _, name in found)
    names = [name if count[name] == 1 else f"{namespace}/{name}" for namespace, name in found]
    taken = ctx.params.get("meshes") or ()
    return _starting((name for name in names if name not in taken), incomplete)


def peers(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of ServiceMeshPeers, of the namespace if one was given."""
    from isthmus.doctor.known_names import PEERS

    namespace = ctx.params.get("namespace") or ""
    return _starting((name for there, name in _objects(ctx, PEERS) if namespace in {"", there}), incomplete)


def namespaces(ctx: typer.Context, incomplete: str) -> list[str]:
    """Namespaces of control planes."""
    from isthmus.doctor.known_names import MESHES

    return _starting((namespace for namespace, _ in _objects(ctx, MESHES)), incomplete)


def _objects(ctx: typer.Context, path: str) -> list[tuple[str, str]]:
    from isthmus.doctor.known_names import known_contexts, known_objects

    kubeconfig = _kubeconfig(ctx)
    chosen = known_contexts(kubeconfig) if ctx.params.get("all_contexts") else _contexts(ctx.params)
    return known_objects(path, chosen, kubeconfig)


def _contexts(params: dict[str, Any]) -> list[str]:
    """The contexts that were given before, by whichever option the command has."""
    given = params.get("contexts") or params.get("context") or ()
    listed = given.split(",") if isinstance(given, str) else given
    return [name for name in listed if name not in {"", "-"}]


def _kubeconfig(ctx: typer.Context) -> Path | None:
    given = ctx.params.get("kubeconfig")
    return Path(given) if given else None


def _starting(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]
