"""Options that several commands have: the same words for the same thing, with the same help and completion."""

from pathlib import Path
from typing import Annotated, Any

import typer

from isthmus.cli import completion

Kubeconfig = Annotated[
    Path | None, typer.Option(help="Kubernetes configuration; by default that of $KUBECONFIG or ~/.kube/config.")
]
Context = Annotated[
    str,
    typer.Option(help="Context of the kubeconfig; by default the current one.", autocompletion=completion.contexts),
]


def _known_level(level: str) -> str:
    from isthmus.logs import LEVELS

    if level not in LEVELS:
        raise typer.BadParameter(f"{level!r}: expected one of {', '.join(LEVELS)}")
    return level


LogLevel = Annotated[str, typer.Option(help="debug, info, warning or error.", callback=_known_level)]


def namespace_option(help_text: str) -> Any:
    """``--namespace``, ``-n`` of a control plane."""
    return typer.Option("--namespace", "-n", help=help_text, autocompletion=completion.namespaces)


Namespace = Annotated[str, namespace_option("Namespace of a control plane; by default all that one may see.")]


def contexts_option(help_text: str) -> Any:
    """``--contexts`` A,B,…; :func:`listed` reads it."""
    return typer.Option(help=help_text, autocompletion=completion.context_list)


def listed(names: str) -> list[str]:
    """The names in A,B,…; none of them is empty."""
    return [each for each in names.split(",") if each]
