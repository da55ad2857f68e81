"""What stands at the end of each command's help: its exit codes and examples."""

from collections.abc import Mapping


def epilog(exits: Mapping[int, str], *examples: str) -> str:
    """Exit codes, each with what it means, and commands to try.

    Blank lines separate them, since everything else is one paragraph for typer; four spaces make code of the examples
    in docs/cli.md.
    """
    codes = "; ".join(f"{code}: {meaning}" for code, meaning in exits.items())
    return "\n\n".join((f"Exit codes: {codes}.", "Examples:", *(f"    {example}" for example in examples)))
