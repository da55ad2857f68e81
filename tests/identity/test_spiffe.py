"""Trust domains and SPIFFE ids, sentence by sentence of the SPIFFE-ID specification."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.identity import InvalidSpiffeIdError, InvalidTrustDomainError, SpiffeId, TrustDomain

trust_domains = st.builds(TrustDomain, st.from_regex(r"[a-z0-9._-]{1,255}", fullmatch=True))
segments = st.from_regex(r"[a-zA-Z0-9._-]{1,40}", fullmatch=True).filter(lambda one: one not in {".", ".."})
spiffe_ids = st.builds(
    SpiffeId, trust_domains, st.lists(segments, max_size=8).map(lambda parts: "".join(f"/{part}" for part in parts))
)


@given(spiffe_ids)
def test_an_id_survives_being_written_and_read(spiffe_id: SpiffeId) -> None:
    """``parse`` is the inverse of ``str``."""
    assert SpiffeId.parse(str(spiffe_id)) == spiffe_id


@given(spiffe_ids.filter(lambda one: bool(one.path)))
def test_a_client_id_survives_being_written_and_read(spiffe_id: SpiffeId) -> None:
    """``from_client_id`` is the inverse of ``without_scheme``."""
    assert SpiffeId.from_client_id(spiffe_id.without_scheme) == spiffe_id


@given(st.text(max_size=80) | st.text(max_size=80).map(lambda rest: "spiffe://" + rest))
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    """Whatever the text, the answer is an id that writes itself the same, or an error of one printable line."""
    try:
        assert str(SpiffeId.parse(text)) == text
    except (InvalidSpiffeIdError, InvalidTrustDomainError) as error:
        assert str(error).isprintable()  # noqa: PT017  (both ways are right)


@pytest.mark.parametrize("name", ["red-mesh.local", "cluster.local", "a", "1", "a_b", "x" * 255])
def test_a_valid_trust_domain_is_accepted(name: str) -> None:
    """SPIFFE-ID §2.1: a-z, 0-9, dot, dash, underscore, up to 255 bytes."""
    assert str(TrustDomain(name)) == name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "expected a name"),
        ("x" * 256, "longer than 255 bytes"),
        ("Red.local", "only a-z"),
        ("red mesh", "only a-z"),
        ("red:8080", "only a-z"),
        ("user@red", "only a-z"),
        ("röd", "only a-z"),
        ("red\n", "only a-z"),
        ("red%41", "only a-z"),
    ],
)
def test_an_invalid_trust_domain_is_refused(name: str, said: str) -> None:
    """SPIFFE-ID §2.1: anything else is no trust domain, and the message says which rule it breaks."""
    with pytest.raises(InvalidTrustDomainError, match=said):
        TrustDomain(name)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("red.local/ns/x", "does not start with spiffe://"),
        ("SPIFFE://red.local/x", "does not start with spiffe://"),
        ("https://red.local/x", "does not start with spiffe://"),
        ("spiffe://red.local/", "empty segment or a trailing slash"),
        ("spiffe://red.local/x/", "empty segment or a trailing slash"),
        ("spiffe://red.local//x", "empty segment"),
        ("spiffe://red.local/x/../y", "relative segment"),
        ("spiffe://red.local/./y", "relative segment"),
        ("spiffe://red.local/%41", "only a-z"),
        ("spiffe://red.local/x?query", "only a-z"),
        ("spiffe://red.local/x#fragment", "only a-z"),
        ("spiffe://red.local/x\n", "only a-z"),
        ("spiffe://red.local/" + "x" * 2040, "longer than 2048 bytes"),
    ],
)
def test_an_invalid_id_is_refused(uri: str, said: str) -> None:
    """SPIFFE-ID §2: scheme, path segments and length are checked, and the message says which rule is broken."""
    with pytest.raises(InvalidSpiffeIdError, match=said):
        SpiffeId.parse(uri)


@pytest.mark.parametrize("uri", ["spiffe:///x", "spiffe://red:8080/x", "spiffe://user@red/x", "spiffe://red?q/x"])
def test_an_id_with_an_invalid_trust_domain_is_refused(uri: str) -> None:
    """SPIFFE-ID §2.1: neither port nor user are part of an id."""
    with pytest.raises(InvalidTrustDomainError):
        SpiffeId.parse(uri)


def test_a_service_account_has_the_kubernetes_form() -> None:
    """The id of a service account is ``/ns/<namespace>/sa/<account>`` in its trust domain."""
    spiffe_id = SpiffeId.service_account(TrustDomain("red-mesh.local"), namespace="red-mesh-system", account="egress")
    assert str(spiffe_id) == "spiffe://red-mesh.local/ns/red-mesh-system/sa/egress"
    assert spiffe_id.without_scheme == "red-mesh.local/ns/red-mesh-system/sa/egress"


@pytest.mark.parametrize(("namespace", "account"), [("a/sa/b", "c"), ("a", "b/../c"), ("", "c"), ("a", "")])
def test_a_service_account_cannot_smuggle_a_path(namespace: str, account: str) -> None:
    """A namespace or account with a slash, or an empty one, is refused: it would name another identity."""
    with pytest.raises(InvalidSpiffeIdError):
        SpiffeId.service_account(TrustDomain("red-mesh.local"), namespace=namespace, account=account)


@pytest.mark.parametrize(
    ("client_id", "said"),
    [("spiffe://red.local/ns/a/sa/b", "without the scheme"), ("red.local", "found no '/'"), ("red.local/", "empty")],
)
def test_a_client_id_is_without_scheme_and_names_a_member(client_id: str, said: str) -> None:
    """``clientID`` is ``<trust domain>/<path>``; the error says what is too much or missing."""
    with pytest.raises(InvalidSpiffeIdError, match=said):
        SpiffeId.from_client_id(client_id)
