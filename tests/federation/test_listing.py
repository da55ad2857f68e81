"""The list in a status, kept entry by entry."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.api.followed import digest_of
from isthmus.api.selectors import LocalService, ServiceMapping
from isthmus.federation.listing import MOST_BYTES, Listing

NAMES = st.sampled_from(["a", "b", "c", "d"])
LONG = "e" * (MOST_BYTES // 3)
"""Two fit into a list."""
STEPS = st.lists(st.tuples(NAMES, st.one_of(st.none(), NAMES, st.just(LONG)), st.booleans()))


def entry(name: str, local: str = "") -> ServiceMapping:
    return ServiceMapping(exported_name=name, local_service=LocalService(name=local))


@given(steps=STEPS)
def test_a_listing_is_the_sorted_list_of_its_entries(steps: list[tuple[str, str | None, bool]]) -> None:
    """After any entries that came, changed and went, with looks in between, it is what sorting all of them gives."""
    listing: Listing[str] = Listing()
    entries: dict[str, ServiceMapping] = {}
    for name, local, is_looked_at in steps:
        if local is None:
            listing.discard(name)
            entries.pop(name, None)
        else:
            listing.put(name, entry(name, local))
            entries[name] = entry(name, local)
        if is_looked_at:
            assert listing.digest == digest_of(listing.json)
    expected = [entries[name] for name in sorted(entries)]
    assert msgspec.json.decode(listing.json, type=list[ServiceMapping]) == as_many_as_fit(expected)
    assert listing.digest == digest_of(listing.json)
    assert (len(listing), listing.listed) == (len(expected), len(as_many_as_fit(expected)))


def as_many_as_fit(entries: list[ServiceMapping]) -> list[ServiceMapping]:
    """The first entries of which the list is no longer than may be."""
    return entries if len(msgspec.json.encode(entries)) <= MOST_BYTES else as_many_as_fit(entries[:-1])


@pytest.mark.parametrize(("over", "listed"), [(0, 2), (1, 1)])
def test_a_list_may_have_just_so_many_bytes(over: int, listed: int) -> None:
    """A list that has the length that is allowed is whole; with a byte more it is an entry shorter."""
    listing: Listing[str] = Listing()
    listing.put("a", entry("a"))
    listing.put("b", entry("b", "x"))
    listing.put("b", entry("b", "x" * (MOST_BYTES - len(listing.json) + 1 + over)))
    assert listing.listed == listed
    assert len(listing.json) <= MOST_BYTES


def test_fields_are_in_the_order_in_which_api_servers_give_them_back() -> None:
    """Custom resources come back with sorted fields and without spaces (encoding/json of Go, for maps)."""
    listing: Listing[str] = Listing()
    listing.put(
        "r", ServiceMapping(exported_name="r", local_service=LocalService(name="n", namespace="s", hostname="h"))
    )
    assert listing.json == b'[{"exportedName":"r","localService":{"hostname":"h","name":"n","namespace":"s"}}]'
    listing.clear()
    assert listing.json == b"[]"
