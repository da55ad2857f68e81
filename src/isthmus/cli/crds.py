"""``isthmus crds``: prints the CustomResourceDefinitions, to be piped into ``kubectl apply -f -``."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from isthmus.cli.epilogs import epilog

EPILOG = epilog(
    {0: "the definitions are printed", 2: "an option is wrong"},
    "isthmus crds | kubectl apply --server-side -f -",
    "isthmus crds -o json",
)


class Format(StrEnum):
    """How the definitions are written."""

    YAML = "yaml"
    JSON = "json"


def crds(
    output: Annotated[Format, typer.Option("--output", "-o", help="How to write them.")] = Format.YAML,
) -> None:
    """Print the CustomResourceDefinitions of the five kinds: kubectl apply --server-side -f <(isthmus crds)."""
    from isthmus.api.crds import crds as generate

    typer.echo(_FORMATS[output](generate()), nl=False)


def _yaml(definitions: list[dict[str, Any]]) -> str:
    """YAML documents in the order of the types' fields, and without anchors, which people do not read."""
    import yaml

    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            del data
            return True

    text: str = yaml.dump_all(definitions, Dumper=Plain, sort_keys=False, width=120, explicit_start=True)
    return text


def _json(definitions: list[dict[str, Any]]) -> str:
    """One List object, as kubectl takes it."""
    import json

    return json.dumps({"apiVersion": "v1", "kind": "List", "items": definitions}, indent=2) + "\n"


_FORMATS = {Format.YAML: _yaml, Format.JSON: _json}
