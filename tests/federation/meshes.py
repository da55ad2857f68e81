"""Two meshes that introduce themselves, red that invites and green that joins; the same in each run."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from isthmus.federation.enrolment import Enrolment, OpenInvitation, Phase, Surroundings
from isthmus.federation.introduction import Introduction
from isthmus.federation.invitation import Invitation, Token
from isthmus.identity import TrustDomain

ROOTS = Path(__file__).parents[1] / "envoy" / "roots"
NOW = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)
NONCE = "a" * 32
SURROUNDINGS = Surroundings(
    mesh="red-mesh", trust_domains=[TrustDomain("red.local")], peers={"blue-mesh": "blue.local"}
)


def introduction(mesh: str, other: str) -> Introduction:
    """``<mesh>-mesh``, as it introduces itself to ``<other>-mesh``."""
    return Introduction(
        mesh=f"{mesh}-mesh",
        namespace=f"{mesh}-mesh-system",
        trust_domain=f"{mesh}.local",
        root=(ROOTS / f"{mesh}.pem").read_text(),
        client_id=f"{mesh}.local/ns/{mesh}-mesh-system/sa/egress-{other}-mesh-service-account",
        addresses=(f"ingress-{other}-mesh.{mesh}-mesh-system.apps.{mesh}.test",),
    )


INVITATION = Invitation(
    id="0123456789abcdef" * 2,
    peer="green-mesh",
    inviter=introduction("red", "green"),
    gateway="red.local/ns/red-mesh-system/sa/ingress-green-mesh-service-account",
    contacts=("192.0.2.7", "ingress-green-mesh.red-mesh-system.apps.red.test"),
    expires=int((NOW + timedelta(minutes=15)).timestamp()),
)
TOKEN = Token(INVITATION, bytes(range(32)))
OPEN = OpenInvitation(
    id=INVITATION.id,
    peer="green-mesh",
    expires=INVITATION.expires,
    ingress="ingress-green-mesh",
    egress="egress-green-mesh",
    key=TOKEN.key.hex(),
)


def message(phase: Phase = "enrol", *, joiner: Introduction | None = None, nonce: str = NONCE) -> bytes:
    """What green sends."""
    return msgspec.json.encode(Enrolment(phase=phase, nonce=nonce, joiner=joiner or introduction("green", "red")))
