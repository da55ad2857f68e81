"""Where an import counts as being. Sections: docs/reference.md §5."""

import pytest

from isthmus.api.imports import Locality as Chosen
from isthmus.federation.locality import Place, locality_error, locality_problems, place
from isthmus.federation.messages import Locality as Told

NOWHERE = Place()


@pytest.mark.parametrize(
    ("chosen", "told", "expected"),
    [
        (None, None, NOWHERE),
        (Chosen(), None, NOWHERE),
        (Chosen(region="us-west", zone="us-west-1"), None, Place("us-west-1", "us-west-1")),
        (Chosen(region="us-west"), None, Place("", "us-west")),
        (Chosen(region="us-west"), Told("us-east", "us-east-1"), Place("", "us-west")),
        (Chosen(), Told("us-east", "us-east-1"), Place("us-east-1", "us-east-1")),
        (None, Told("", "us-east-1"), NOWHERE),
        (None, Told("us east"), NOWHERE),
        (None, Told("r" * 64), NOWHERE),
        (Chosen(zone="us-west-1"), Told("us-east"), Place("", "us-east")),
    ],
)
def test_the_importer_decides_before_the_peer(chosen: Chosen | None, told: Told | None, expected: Place) -> None:
    """What the importer says counts, else what the peer says; what is no locality counts as nothing."""
    assert place(chosen, told) == expected


@pytest.mark.parametrize(
    ("locality", "says"),
    [
        (Chosen(region="r", zone="z", subzone="s"), ""),
        (Chosen(), ""),
        (Chosen(zone="z"), "zone 'z' has no region"),
        (Chosen(region="r", subzone="s"), "subzone 's' has no zone"),
        (Chosen(region="us west"), "'us west' is no name"),
    ],
)
def test_a_locality_that_cannot_be_used_says_why(locality: Chosen, says: str) -> None:
    """A gap or a name that no node could bear is told of, with what to do."""
    assert says in locality_error(locality)
    assert bool(locality_problems(locality)) == bool(says)
