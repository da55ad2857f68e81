"""Who someone is, and how that is proved: trust domains, SPIFFE ids, X.509 certificates, trust bundles.

Belongs here: parsing and issuing, as pure functions (the moment is an argument). Must not: know a mesh, a peer,
a file or a socket. Everybody above may import it.
"""

from isthmus.identity.authority import Authority
from isthmus.identity.bundle import TrustBundle
from isthmus.identity.errors import (
    ExpiredAuthorityError,
    ExpiredCertificateError,
    IdentityError,
    InvalidAuthorityError,
    InvalidBundleError,
    InvalidCertificateError,
    InvalidRequestError,
    InvalidSpiffeIdError,
    InvalidTrustDomainError,
)
from isthmus.identity.path import path_to_root
from isthmus.identity.pem import certificate_of_der, certificates_of, certificates_pem
from isthmus.identity.request import new_private_key, requested_key, signing_request
from isthmus.identity.spiffe import SpiffeId, TrustDomain
from isthmus.identity.svid import X509Svid, spiffe_id_of
from isthmus.identity.validity import CLOCK_SKEW, Term, expired_at, fingerprint, renewal_time, valid_at, validity_error

__all__ = [
    "CLOCK_SKEW",
    "Authority",
    "ExpiredAuthorityError",
    "ExpiredCertificateError",
    "IdentityError",
    "InvalidAuthorityError",
    "InvalidBundleError",
    "InvalidCertificateError",
    "InvalidRequestError",
    "InvalidSpiffeIdError",
    "InvalidTrustDomainError",
    "SpiffeId",
    "Term",
    "TrustBundle",
    "TrustDomain",
    "X509Svid",
    "certificate_of_der",
    "certificates_of",
    "certificates_pem",
    "expired_at",
    "fingerprint",
    "new_private_key",
    "path_to_root",
    "renewal_time",
    "requested_key",
    "signing_request",
    "spiffe_id_of",
    "valid_at",
    "validity_error",
]
