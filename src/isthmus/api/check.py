"""``status.check`` of a ServiceMeshPeer: the link as it was last checked, step by step."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from isthmus.api.meta import Count, Part


class CheckStep(Part, frozen=True, kw_only=True):
    """One step of a check, and what came of it."""

    name: Annotated[str, Meta(description="Name of the step.")]
    result: Annotated[Literal["passed", "failed", "skipped"], Meta(description="What came of it.")]
    figure: Annotated[str, Meta(description="What was measured, for people.")] = ""
    cause: Annotated[str, Meta(description="Why it failed, as one CamelCase word for programs.")] = ""
    side: Annotated[str, Meta(description="Where it is to be mended.")] = ""
    message: Annotated[str, Meta(description="Why it failed or was skipped, for people.")] = ""
    action: Annotated[str, Meta(description="What to do.")] = ""
    page: Annotated[str, Meta(description="The document that tells more.")] = ""


class PeerView(Part, frozen=True, kw_only=True):
    """How the peer sees this link, in its own words."""

    peer: Annotated[str, Meta(description="The name that the peer has for this mesh.")] = ""
    client_id: Annotated[str, Meta(description="The identity that the peer expects of us.")] = msgspec.field(
        default="", name="clientID"
    )
    sources: Annotated[tuple[str, ...], Meta(description="Where the peer sees us watch it from.")] = ()
    exports: Annotated[Count, Meta(description="How many services it exports to us.")] = 0
    knows: Annotated[Count | None, Meta(description="How many of our exports it knows of.")] = None
    imports: Annotated[Count | None, Meta(description="How many of our exports it imports.")] = None
    last_error: Annotated[str, Meta(description="Why its watch of us does not stand.")] = ""


class Check(Part, frozen=True, kw_only=True):
    """The last check of the link, which an annotation isthmus.io/check has asked for."""

    nonce: Annotated[str, Meta(description="The value of the annotation that is answered.")]
    time: Annotated[datetime, Meta(description="When the check ended, in UTC.")]
    pod: Annotated[str, Meta(description="The control-plane pod that has checked.")]
    steps: Annotated[
        tuple[CheckStep, ...],
        Meta(
            description="The steps in the order in which one needs the other.",
            extra_json_schema={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = ()
    peer_view: Annotated[PeerView | None, Meta(description="How the peer sees the link, where it tells.")] = None
