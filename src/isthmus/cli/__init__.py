"""The command line ``isthmus``: parses arguments and calls the rooms. Decides nothing."""

from isthmus.cli.app import main

__all__ = ["main"]
