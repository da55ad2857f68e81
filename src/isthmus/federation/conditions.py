"""What is right and wrong with a resource of federation, as conditions for its administrator.

Pure: rules and tables in, conditions out; ``now`` comes in as an argument, who writes them is ``pilot``. Each message
names the rule by its index and says what to do. Source: docs/reference.md, "Conditions"; Kubernetes API conventions,
"Typical status properties".
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from isthmus.api.meta import Condition
from isthmus.federation.availability import KEEP_STALE, Availability
from isthmus.federation.causes import ACCEPTED
from isthmus.federation.export_table import ExportTable
from isthmus.federation.import_table import ImportTable
from isthmus.federation.listing import MOST_BYTES, Listing
from isthmus.federation.selection import Problem

UP_TO_DATE: Final = "UpToDate"
"""On an ImportedServiceSet; its time of transition is the age of what is imported while the peer is away."""
FULLY_LISTED: Final = "FullyListed"
"""On a set, and only while it is not so: its list has more entries than fit into a resource."""
MOST_TOLD: Final = 10
"""Problems that one message lists; with more it says how many there are."""
MAX_MESSAGE_LENGTH: Final = 4096


def accepted(problems: Sequence[Problem]) -> Condition:
    """Whether all that the resource says is carried out; generation and time are for :func:`settled`."""
    if not problems:
        return Condition(type=ACCEPTED, status="True", reason=ACCEPTED, message="All of it is carried out.")
    told = "; ".join(problem.message for problem in problems[:MOST_TOLD])
    more = f"; and {len(problems) - MOST_TOLD} more" if len(problems) > MOST_TOLD else ""
    message = f"{told[: MAX_MESSAGE_LENGTH - len(more)]}{more}"
    return Condition(type=ACCEPTED, status="False", reason=problems[0].reason, message=message)


def up_to_date(away_since: datetime | None, state: Availability) -> Condition:
    """Whether what is imported is as the peer has it now, or as it was when the peer was last heard of."""
    if away_since is None:
        return Condition(type=UP_TO_DATE, status="True", reason="PeerConnected", message="The peer tells of changes.")
    since = away_since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    reason, kept = (
        ("Expired", f"imports are not ready any more, as annotation {KEEP_STALE} says")
        if state is Availability.EXPIRED
        else ("PeerAway", "imports are kept as they were then")
    )
    message = (
        f"The peer is away since {since}, {kept}; see status.discoveryStatus of the ServiceMeshPeer for the cause."
    )
    return Condition(type=UP_TO_DATE, status="False", reason=reason, message=message, last_transition_time=away_since)


def fully_listed(listing: Listing[Any], *, elsewhere: str) -> list[Condition]:
    """That the list in a status is not whole, and where the rest is to be seen; nothing if it is."""
    if listing.listed == len(listing):
        return []
    message = (
        f"The status lists {listing.listed} of {len(listing)} services, the first that fit into"
        f" {MOST_BYTES // 1024} KiB; all are shared, and counted. {elsewhere}"
    )
    return [Condition(type=FULLY_LISTED, status="False", reason="ListTooLong", message=message)]


def settled(
    before: Iterable[Condition], found: Sequence[Condition], *, generation: int | None, now: datetime
) -> tuple[Condition, ...]:
    """The conditions with what was ``found``; others stay, and the time of one whose status is the same stays too."""
    by_type = {each.type: each for each in before}
    for each in found:
        known = by_type.get(each.type)
        since = known.last_transition_time if known is not None and known.status == each.status else None
        by_type[each.type] = Condition(
            type=each.type,
            status=each.status,
            reason=each.reason,
            message=each.message,
            last_transition_time=since or (each.last_transition_time or now).astimezone(UTC).replace(microsecond=0),
            observed_generation=generation,
        )
    return tuple(by_type[each] for each in sorted(by_type))


def export_problems(table: ExportTable) -> list[Problem]:
    """What is wrong with an ExportedServiceSet: its rules, and services that lose their name or no peer can use."""
    found = (*table.rules.problems, *_lost_exports(table), *_portless_exports(table))
    return sorted(found, key=lambda problem: problem.rule)


def import_problems(table: ImportTable, others: Iterable[ImportTable] = ()) -> list[Problem]:
    """What is wrong with an ImportedServiceSet: its rules, and imports whose name here is another's, or that no call
    can go to.

    ``others`` are the imports from other peers.
    """
    lost = (*_lost_imports(table), *(each for other in others for each in _lost_to(table, other)))
    found = (*table.rules.problems, *lost, *table.hindered())
    return sorted(found, key=lambda problem: problem.rule)


def without_peer(kind: str, name: str) -> Problem:
    """A set for a peer that does not exist."""
    return Problem(0, "PeerNotFound", f"{kind} {name} has no effect: there is no ServiceMeshPeer {name}; create it")


def refused_peer(kind: str, name: str) -> Problem:
    """A set for a peer that is not accepted."""
    return Problem(
        0,
        "PeerNotAccepted",
        f"{kind} {name} has no effect until ServiceMeshPeer {name} is accepted: see its conditions",
    )


def _lost_exports(table: ExportTable) -> Iterable[Problem]:
    for lost in table.losers():
        index = table.rules.deciding(lost.service) or 0
        yield Problem(
            index,
            "NameTaken",
            f"exportRules[{index}] does not export {lost.service.name}: {lost.winner} has the name {lost.hostname}"
            " already; give one of them another alias",
        )


def _portless_exports(table: ExportTable) -> Iterable[Problem]:
    for service in table.portless():
        index = table.rules.deciding(service) or 0
        yield Problem(
            index,
            "NoTCPPort",
            f"exportRules[{index}] exports {service.name}, which no peer can use: it has no TCP port, and nothing else"
            " is shared; give it one, or leave it out of the rule",
        )


def _lost_imports(table: ImportTable) -> Iterable[Problem]:
    for hostname, holder in table.clashes():
        imported = table.imports[hostname]
        index = table.rules.deciding(imported.service) or 0
        yield Problem(
            index,
            "NameTaken",
            f"importRules[{index}] calls {hostname} {imported.called.hostname}, which is the name of {holder} already;"
            " give one of them another alias",
        )


def _lost_to(table: ImportTable, other: ImportTable) -> Iterable[Problem]:
    for hostname, holder in table.lost_to(other):
        imported = table.imports[hostname]
        index = table.rules.deciding(imported.service) or 0
        yield Problem(
            index,
            "NameTaken",
            f"importRules[{index}] calls {hostname} {imported.called.hostname}, which is the name of {holder} from peer"
            f" {other.peer} already; give one of them another alias or domainSuffix",
        )
