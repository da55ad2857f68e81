"""``isthmus lab``: clusters of one's own on this machine."""

import json
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isthmus.cli.epilogs import epilog

if TYPE_CHECKING:
    from isthmus.lab.clusters import ClusterFolder
    from isthmus.lab.plan import Wishes

app = typer.Typer(name="lab", help="Kubernetes clusters on this machine, without root.", no_args_is_help=True)

DEFAULT_NAME = "lab"
Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Clusters; 'lab' if none is named.")]
DataDir = Annotated[
    Path | None,
    typer.Option(
        envvar="ISTHMUS_LAB_DIR",
        help="Folder of all clusters [default: $XDG_DATA_HOME/isthmus/lab]",
        show_default=False,
    ),
]
Output = Annotated[str, typer.Option("--output", "-o", help="'text' or 'json'")]


def root_of(data_dir: Path | None) -> Path:
    """The folder of all clusters, made if it is not there."""
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    root = (data_dir or Path(base) / "isthmus" / "lab").expanduser().absolute()
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    return root


def failure(error: Exception) -> "typer.Exit":
    """Say what is wrong; the exit code for it."""
    typer.echo(f"error: {error}", err=True)
    return typer.Exit(1)


def check_output(output: str) -> None:
    """Raises typer.BadParameter for what is no output format."""
    if output not in ("text", "json"):
        raise typer.BadParameter(f"expected 'text' or 'json', not {output!r}", param_hint="--output")


def _describe(folder: "ClusterFolder") -> dict[str, Any]:
    plan = folder.plan()
    return {
        "name": folder.name,
        "kubeconfig": str(folder.kubeconfig),
        "server": plan.server,
        "dns": f"{plan.dns.host}:{plan.dns.port}",
        "apps_domain": plan.apps_domain,
        "pid": folder.pid(),
    }


@app.command(
    epilog=epilog(
        {0: "the clusters work", 1: "one does not, or cannot be made", 2: "an option is wrong"},
        "isthmus lab up",
        "isthmus lab up red green",
        "isthmus lab up red --foreground",
        "isthmus lab up red --pod-cidr 10.88.0.0/16 --service-cidr 10.89.0.0/16",
    ),
)
def up(
    names: Names = None,
    *,
    data_dir: DataDir = None,
    apps_domain: Annotated[
        str | None, typer.Option(help="Domain of load balancers; {name} is the cluster's [default: apps.{name}.test]")
    ] = None,
    pod_cidr: Annotated[
        str | None, typer.Option(help="Range of pods' addresses, which the machine has [default: of 127.0.0.0/8]")
    ] = None,
    service_cidr: Annotated[
        str | None, typer.Option(help="Range of Services' addresses, likewise [default: of 127.0.0.0/8]")
    ] = None,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay, and end with Ctrl-C; one cluster only.")
    ] = False,
    output: Output = "text",
) -> None:
    """Start clusters, or do nothing if they run; returns when they work."""
    from isthmus.lab import daemon
    from isthmus.lab.clusters import ClusterFolder
    from isthmus.lab.errors import ClusterError
    from isthmus.lab.plan import Wishes

    check_output(output)
    root = root_of(data_dir)
    wishes = Wishes(apps_domain=apps_domain, pod_cidr=pod_cidr, service_cidr=service_cidr)
    try:
        chosen = [ClusterFolder(root, name) for name in names or [DEFAULT_NAME]]
        if foreground:
            _foreground(chosen, wishes)
            return
        for folder in chosen:
            folder.prepare(wishes)
        _start(chosen, quiet=output == "json")
        merged = daemon.merge_kubeconfigs(root, current=chosen[0].name)
    except ClusterError as error:
        raise failure(error) from None
    described = [_describe(folder) for folder in chosen]
    _tell(described, output)
    if output == "text":
        typer.echo(f"\nexport KUBECONFIG={merged}\nkubectl --context {chosen[0].name} get pods -A")


def _start(chosen: "list[ClusterFolder]", *, quiet: bool) -> None:
    """Start all of them, then wait for each."""
    from rich.console import Console

    from isthmus.lab import daemon

    console = Console(quiet=quiet)
    began = time.monotonic()
    processes = [daemon.start(folder) for folder in chosen]
    for folder, process in zip(chosen, processes, strict=True):
        with console.status(f"starting {folder.name}"):
            daemon.wait_ready(folder, process)
        what = "ready" if process is not None else "runs already"
        console.print(f"[green]✓[/] {folder.name} {what} ({time.monotonic() - began:.1f} s)  {folder.kubeconfig}")


def _foreground(chosen: "list[ClusterFolder]", wishes: "Wishes") -> None:
    from isthmus.lab import process, serve

    if len(chosen) != 1:
        raise typer.BadParameter("expected one cluster to stay in the foreground with", param_hint="--foreground")
    process.configure_log()
    serve.serve(chosen[0], wishes)


@app.command(
    epilog=epilog(
        {0: "stopped, or did not run", 1: "there is no such cluster", 2: "an option is wrong"},
        "isthmus lab down",
        "isthmus lab down red",
    ),
)
def down(names: Names = None, *, data_dir: DataDir = None, output: Output = "text") -> None:
    """Stop clusters with all that runs in them; what they have stored stays. Without names: all of them."""
    from isthmus.lab import daemon

    check_output(output)
    told = []
    for folder in chosen_clusters(names, data_dir):
        stopped = daemon.stop(folder)
        told.append({"name": folder.name, "stopped": stopped})
        _say(f"{folder.name} {'stopped' if stopped else 'does not run'}", output)
    _tell(told, output)


@app.command(
    epilog=epilog(
        {0: "deleted", 1: "there is no such cluster", 2: "an option is wrong"},
        "isthmus lab delete red",
    ),
)
def delete(names: Names, *, data_dir: DataDir = None, output: Output = "text") -> None:
    """Stop clusters and delete all that they have stored."""
    from isthmus.lab import daemon

    check_output(output)
    told = []
    for folder in chosen_clusters(names, data_dir):
        daemon.stop(folder)
        shutil.rmtree(folder.path)
        told.append({"name": folder.name, "deleted": True})
        _say(f"{folder.name} deleted", output)
    daemon.merge_kubeconfigs(root_of(data_dir))
    _tell(told, output)


def _say(line: str, output: str) -> None:
    if output == "text":
        typer.echo(line)


def _tell(clusters: list[dict[str, Any]], output: str) -> None:
    if output == "json":
        typer.echo(json.dumps({"clusters": clusters}))


def chosen_clusters(names: list[str] | None, data_dir: Path | None) -> "list[ClusterFolder]":
    """The clusters of these names, or all of them. Raises typer.Exit if there is no such cluster."""
    from isthmus.lab.clusters import ClusterFolder, folders
    from isthmus.lab.errors import ClusterError

    root = root_of(data_dir)
    if not names:
        return folders(root)
    try:
        chosen = [ClusterFolder(root, name) for name in names]
        for folder in chosen:
            folder.plan()
    except ClusterError as error:
        raise failure(error) from None
    return chosen


@app.command(
    "list",
    epilog=epilog(
        {0: "the names are printed, if there are any", 2: "an option is wrong"},
        "isthmus lab list",
    ),
)
def list_clusters(*, data_dir: DataDir = None, output: Output = "text") -> None:
    """The names of all clusters."""
    check_output(output)
    found = chosen_clusters(None, data_dir)
    for folder in found:
        _say(folder.name, output)
    _tell([_describe(folder) for folder in found], output)


@app.command(
    epilog=epilog(
        {0: "all of them run", 1: "one does not, or there is no such cluster", 2: "an option is wrong"},
        "isthmus lab status",
        "isthmus lab status red -o json",
    ),
)
def status(names: Names = None, *, data_dir: DataDir = None, output: Output = "text") -> None:
    """Whether clusters run, and where; exits with 1 if one does not."""
    from rich.console import Console
    from rich.table import Table

    check_output(output)
    chosen = chosen_clusters(names, data_dir)
    described = [{**_describe(folder), "ready": folder.ready()} for folder in chosen]
    _tell(described, output)
    if output == "text":
        columns = ("name", "ready", "pid", "server", "dns", "apps_domain")
        table = Table(*columns, box=None)
        for cluster in described:
            table.add_row(*(str(cluster[column]) for column in columns))
        Console().print(table)
    if not all(cluster["ready"] for cluster in described):
        raise typer.Exit(1)


@app.command(
    epilog=epilog(
        {0: "it is printed", 1: "there is no such cluster, or it was never started", 2: "an option is wrong"},
        "isthmus lab kubeconfig red",
    ),
)
def kubeconfig(name: str, *, data_dir: DataDir = None, output: Output = "text") -> None:
    """Print the administrator's kubeconfig of a cluster, as YAML or as JSON."""
    import yaml

    from isthmus.lab.errors import ClusterError

    check_output(output)
    (folder,) = chosen_clusters([name], data_dir)
    if not folder.kubeconfig.exists():
        raise failure(ClusterError(f"Reading the kubeconfig of {name!r}: it has never been started"))
    text = folder.kubeconfig.read_text()
    typer.echo(json.dumps(yaml.safe_load(text)) + "\n" if output == "json" else text, nl=False)
