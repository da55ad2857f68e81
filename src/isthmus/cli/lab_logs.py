"""``isthmus lab logs``: what the process of a cluster says (not its pods: that is for ``kubectl logs``)."""

import json
from typing import Annotated

import typer

from isthmus.cli.epilogs import epilog
from isthmus.cli.lab import DEFAULT_NAME, DataDir, Output, check_output, chosen_clusters, failure

LAB_LOGS_EPILOG = epilog(
    {0: "the lines are printed", 1: "there is no such cluster, or no log of it", 2: "an option is wrong"},
    "isthmus lab logs red",
    "isthmus lab logs red --tail 20 -f",
)


def lab_logs(
    name: Annotated[str, typer.Argument(help="The cluster.")] = DEFAULT_NAME,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the cluster stops, or Ctrl-C.")] = False,
    tail: Annotated[int | None, typer.Option(min=0, help="Begin so many lines before the end [default: all]")] = None,
    data_dir: DataDir = None,
    output: Output = "text",
) -> None:
    """Print the log of a cluster's own process, each line an object with --output json."""
    from isthmus.lab.daemon import log_lines
    from isthmus.lab.errors import ClusterError

    check_output(output)
    (folder,) = chosen_clusters([name], data_dir)
    try:
        for line in log_lines(folder, tail=tail, follow=follow):
            typer.echo(json.dumps({"cluster": name, "line": line}) if output == "json" else line)
    except ClusterError as error:
        raise failure(error) from None
    except KeyboardInterrupt:
        return
