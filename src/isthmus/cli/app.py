"""The root command. Each sub-command lives in a module of its own and imports its room only when it is called."""

import typer

from isthmus.cli.check import EPILOG as CHECK_EPILOG
from isthmus.cli.check import check
from isthmus.cli.crds import EPILOG as CRDS_EPILOG
from isthmus.cli.crds import crds
from isthmus.cli.demo import EPILOG as DEMO_EPILOG
from isthmus.cli.demo import demo
from isthmus.cli.gateway import EPILOG as GATEWAY_EPILOG
from isthmus.cli.gateway import gateway
from isthmus.cli.invite import INVITE_EPILOG, JOIN_EPILOG, invite, join
from isthmus.cli.lab import app as lab
from isthmus.cli.lab_logs import LAB_LOGS_EPILOG, lab_logs
from isthmus.cli.lab_node import LAB_NODE_EPILOG, lab_node
from isthmus.cli.link import LINK_EPILOG, UNLINK_EPILOG, link, unlink
from isthmus.cli.lint import LINT_EPILOG, lint
from isthmus.cli.operator import EPILOG as OPERATOR_EPILOG
from isthmus.cli.operator import operator
from isthmus.cli.peer_logs import LOGS_EPILOG, logs
from isthmus.cli.pilot import EPILOG as PILOT_EPILOG
from isthmus.cli.pilot import pilot
from isthmus.cli.preview import EPILOG as PREVIEW_EPILOG
from isthmus.cli.preview import preview
from isthmus.cli.status import EPILOG as STATUS_EPILOG
from isthmus.cli.status import status

app = typer.Typer(
    name="isthmus",
    help="Federation of service meshes with the ServiceMeshPeer API, on Kubernetes and Envoy.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def root() -> None:
    """Keep sub-commands as sub-commands, however few they are."""


app.command("check", epilog=CHECK_EPILOG)(check)
app.command("crds", epilog=CRDS_EPILOG)(crds)
app.command("demo", epilog=DEMO_EPILOG)(demo)
app.command("gateway", epilog=GATEWAY_EPILOG)(gateway)
app.command("invite", epilog=INVITE_EPILOG)(invite)
app.command("join", epilog=JOIN_EPILOG)(join)
app.command("link", epilog=LINK_EPILOG)(link)
app.command("lint", epilog=LINT_EPILOG)(lint)
app.command("logs", epilog=LOGS_EPILOG)(logs)
app.command("operator", epilog=OPERATOR_EPILOG)(operator)
app.command("pilot", epilog=PILOT_EPILOG)(pilot)
app.command("preview", epilog=PREVIEW_EPILOG)(preview)
app.command("status", epilog=STATUS_EPILOG)(status)
app.command("unlink", epilog=UNLINK_EPILOG)(unlink)
lab.command("logs", epilog=LAB_LOGS_EPILOG)(lab_logs)
lab.command("node", epilog=LAB_NODE_EPILOG)(lab_node)
app.add_typer(lab)


def main() -> None:
    """Run the command line; the console script of the package."""
    app()
