"""``isthmus invite`` and ``isthmus join``: meshes linked by administrators who do not see each other's cluster."""

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from isthmus.cli import completion
from isthmus.cli.epilogs import epilog
from isthmus.cli.options import Context, Kubeconfig

if TYPE_CHECKING:
    from isthmus.doctor.inviting import Home, Invited
    from isthmus.federation.invitation import Token

INVITE_EPILOG = epilog(
    {
        0: "the token is on standard output, or the list is, or the invitation is revoked",
        1: "our gateways for the peer have no address yet; they stay, and the same command goes on",
        2: "it cannot be done as asked, or the cluster does not answer",
    },
    "isthmus invite green-mesh > token",
    "isthmus invite green-mesh --mesh red-mesh --context red --ttl 1h > token",
    "isthmus invite green-mesh --address mesh.example.com > token",
    "isthmus invite --list",
    "isthmus invite --revoke green-mesh",
)
JOIN_EPILOG = epilog(
    {
        0: "the peer is ready here",
        1: "not all is done; the message says what is there, and how to go on",
        2: "refused, by us or by the inviter: nothing was made in either cluster",
    },
    "isthmus join - < token",
    "isthmus join - --mesh green-mesh --context green < token",
)

Mesh = Annotated[
    str,
    typer.Option(
        help="Our ServiceMeshControlPlane, NAME or NAMESPACE/NAME; by default the only one.",
        autocompletion=completion.meshes,
    ),
]
Address = Annotated[
    list[str] | None,
    typer.Option(help="Where the peer reaches our ingress gateway; by default what its Service says. May be repeated."),
]
ServiceType = Annotated[
    Literal["LoadBalancer", "NodePort"] | None,
    typer.Option(help="How our ingress gateway is reached; LoadBalancer unless it is there already."),
]
Timeout = Annotated[float, typer.Option(help="Seconds to wait for each: our gateways, the peer.", min=0)]


def invite(
    peer: Annotated[str, typer.Argument(metavar="PEER", help="Name of the mesh to invite.")] = "",
    *,
    mesh: Mesh = "",
    context: Context = "",
    ttl: Annotated[str, typer.Option(help="How long the token is good for: 90s, 15m, 2h, 1d, at most 7d.")] = "15m",
    address: Address = None,
    service_type: ServiceType = None,
    timeout: Timeout = 60.0,
    list_: Annotated[bool, typer.Option("--list", help="Show the invitations that there are.")] = False,
    revoke: Annotated[bool, typer.Option("--revoke", help="Take the invitation of PEER back.")] = False,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Invite another mesh: print a token for its administrator, who needs nothing else and no access to our cluster.

    The token is a secret, good once and for that mesh only; it is printed nowhere else. Inviting a mesh again makes
    its former token void.
    """
    from isthmus.doctor import inviting

    if list_ == bool(peer) or (list_ and revoke):
        raise typer.BadParameter("expected PEER, or --list", param_hint="PEER")
    with _told("invite"):
        lifetime = inviting.parse_lifetime(ttl)

        async def work(home: "Home") -> None:
            if list_:
                _list(await inviting.listed(home.client, home.mesh.namespace))
            elif revoke:
                _revoked(await inviting.revoke(home), peer)
            else:
                token = await inviting.invite(
                    home,
                    lifetime=lifetime,
                    addresses=address or (),
                    service_type=service_type,
                    timeout_s=timeout,
                )
                _hand_over(token)

        _run(peer, work, mesh=mesh, context=context, kubeconfig=kubeconfig)


def join(
    token: Annotated[str, typer.Argument(metavar="TOKEN|-", help="What isthmus invite printed; - reads it.")],
    *,
    mesh: Mesh = "",
    context: Context = "",
    address: Address = None,
    service_type: ServiceType = None,
    timeout: Timeout = 60.0,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Join a mesh that has invited ours: make it a peer here, have it make us one there, and wait until it is ready.

    Better read the token from standard input: arguments are seen by others on this machine, and kept in histories.
    """
    from isthmus.doctor.inviting import Joiner
    from isthmus.federation.invitation import Token

    with _told("join"):
        is_dash = token == "-"  # noqa: S105  (no password)
        read = Token.parse(typer.get_text_stream("stdin").read(MAX_READ) if is_dash else token)
        inviter = read.invitation.inviter
        _say(f"{inviter.mesh} invites {read.invitation.peer}")
        _say_roots(read)

        async def work(home: "Home") -> None:
            joiner = Joiner(home, read, progress=_say)
            await joiner.join(addresses=address or (), service_type=service_type, timeout_s=timeout)
            await joiner.wait_ready(timeout_s=timeout)
            typer.echo(f"{home.mesh.name} and {inviter.mesh} are peers, and {inviter.mesh} is ready.")

        _run(inviter.mesh, work, mesh=mesh, context=context, kubeconfig=kubeconfig)


MAX_READ = 1024 * 1024
LONGEST_LINE = 4000
LINE = 1000


def _hand_over(token: "Token") -> None:
    """The token alone on standard output, all else beside it."""
    invitation = token.invitation
    _say(f"{invitation.peer} is invited until {invitation.expires_at:%Y-%m-%dT%H:%M:%SZ}")
    _say_roots(token)
    _say("hand the token to its administrator by a way that you trust; there: isthmus join - < token")
    typer.echo("\n".join(wrapped(token.text)))


def wrapped(text: str) -> list[str]:
    """A long token in lines, since a terminal takes no line of more than 4095 characters; they mean nothing in it."""
    width = len(text) if len(text) <= LONGEST_LINE else LINE
    return [text[start : start + width] for start in range(0, len(text), width)]


def _say_roots(token: "Token") -> None:
    inviter = token.invitation.inviter
    for print_ in inviter.check().fingerprints():
        _say(f"root of {inviter.mesh}, SHA-256 {print_}")


def _list(found: "list[Invited]") -> None:
    from datetime import UTC, datetime

    if not found:
        typer.echo("Nobody is invited.")
    for each in found:
        invitation = each.invitation
        typer.echo(
            f"{invitation.peer}  {each.state(datetime.now(UTC))}  until {invitation.expires_at:%Y-%m-%dT%H:%M:%SZ}"
        )


def _revoked(count: int, peer: str) -> None:
    typer.echo(f"{peer} is no longer invited." if count else f"{peer} was not invited.")


def _say(what: str) -> None:
    typer.echo(f"  {what}", err=True)


def _run(
    peer: str,
    work: "Callable[[Home], Coroutine[Any, Any, None]]",
    *,
    mesh: str,
    context: str,
    kubeconfig: Path | None,
) -> None:
    import asyncio

    from isthmus.cli.stopping import until_stopped
    from isthmus.doctor.inviting import at_home

    async def connected() -> None:
        async with at_home(peer, mesh=mesh, context=context or None, kubeconfig=kubeconfig) as home:
            await work(home)

    asyncio.run(until_stopped(connected()))


@contextmanager
def _told(command: str) -> Iterator[None]:
    """Tell errors as lines, and what is left behind as the exit status."""
    from isthmus.doctor.contexts import ContextError
    from isthmus.doctor.inviting import Refused, Unfinished
    from isthmus.doctor.linking import LinkError
    from isthmus.kube.errors import KubeError

    try:
        yield
    except Unfinished as error:
        typer.echo(f"isthmus {command}: {error}", err=True)
        raise typer.Exit(1) from error
    except (Refused, LinkError, ContextError, KubeError, OSError, ValueError) as error:
        typer.echo(f"isthmus {command}: {error}", err=True)
        raise typer.Exit(2) from error
