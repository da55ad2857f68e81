"""Whose a certificate is, sentence by sentence of SPIFFE X509-SVID."""

import pytest
from tests.identity.corpus import BROKEN_LEAVES, LEAF, OTHER_P256, P256, SPIFFE_ID, Recipe

from isthmus.identity import InvalidCertificateError, SpiffeId, X509Svid, certificates_pem, spiffe_id_of
from isthmus.identity.pem import private_key_pem


def test_a_leaf_names_its_holder() -> None:
    """The one URI name of a leaf is who it belongs to."""
    assert spiffe_id_of(LEAF.self_signed()) == SpiffeId.parse(SPIFFE_ID)


def test_an_absent_extended_key_usage_is_accepted() -> None:
    """X509-SVID §4.4: the extension may be absent."""
    assert spiffe_id_of(Recipe(purposes=None).self_signed()) == SpiffeId.parse(SPIFFE_ID)


@pytest.mark.parametrize("defect", BROKEN_LEAVES)
def test_a_leaf_with_a_defect_names_nobody(defect: str) -> None:
    """A certificate against the specification is refused with the rule that it breaks."""
    recipe, said = BROKEN_LEAVES[defect]
    with pytest.raises(InvalidCertificateError, match=said):
        spiffe_id_of(recipe.self_signed())


def test_an_svid_survives_being_written_and_read() -> None:
    """Key and chain are read back from their PEM."""
    svid = X509Svid(private_key=P256, chain=(LEAF.self_signed(),))
    assert X509Svid.parse(chain_pem=svid.chain_pem, key_pem=svid.key_pem).chain == svid.chain
    assert svid.spiffe_id == SpiffeId.parse(SPIFFE_ID)


def test_an_svid_with_another_key_is_refused() -> None:
    """Key and leaf belong together."""
    with pytest.raises(InvalidCertificateError, match="another key"):
        X509Svid.parse(chain_pem=certificates_pem([LEAF.self_signed()]), key_pem=private_key_pem(OTHER_P256))


def test_an_svid_does_not_show_its_key() -> None:
    """The representation, which may land in a log, holds nothing of the key."""
    assert "rivate" not in repr(X509Svid(private_key=P256, chain=(LEAF.self_signed(),)))
