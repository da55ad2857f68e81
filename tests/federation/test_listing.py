"""The list in a status, kept entry by entry."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from isthmus.api.followed import digest_of
from isthmus.api.selectors import LocalService, ServiceMapping
from isthmus.federation.listing import Listing

NAMES = st.sampled_from(["a", "b", "c", "d"])
STEPS = st.lists(st.tuples(NAMES, st.one_of(st.none(), NAMES), st.booleans()))


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
    assert msgspec.json.decode(listing.json, type=list[ServiceMapping]) == expected
    assert listing.digest == digest_of(listing.json)
    assert len(listing) == len(expected)


def test_fields_are_in_the_order_in_which_api_servers_give_them_back() -> None:
    """Custom resources come back with sorted fields and without spaces (encoding/json of Go, for maps)."""
    listing: Listing[str] = Listing()
    listing.put(
        "r", ServiceMapping(exported_name="r", local_service=LocalService(name="n", namespace="s", hostname="h"))
    )
    assert listing.json == b'[{"exportedName":"r","localService":{"hostname":"h","name":"n","namespace":"s"}}]'
    listing.clear()
    assert listing.json == b"[]"
