"""``python -m isthmus.cli``: the command line without its console script."""

from isthmus.cli.app import main

main()
