"""What can be wrong with an identity, grouped by what the caller can do about it.

IdentityError
├── InvalidTrustDomainError                correct the name
├── InvalidSpiffeIdError                   correct the name
├── InvalidCertificateError                correct the certificate, the key or the PEM text
│   ├── ExpiredCertificateError            … or replace it: its time is over, or has not begun
│   └── InvalidBundleError                 … of a peer's or the mesh's roots
├── InvalidRequestError                    the one who asks for a certificate must ask differently
└── InvalidAuthorityError                  the administrator must correct the CA's material
    └── ExpiredAuthorityError              … or replace it: its time is over, or has not begun
"""


class IdentityError(ValueError):
    """Base of everything that this room raises; the message is one line, fit to be shown to an administrator."""


class InvalidTrustDomainError(IdentityError):
    """A trust domain's name breaks SPIFFE-ID §2.1."""


class InvalidSpiffeIdError(IdentityError):
    """A SPIFFE id breaks SPIFFE-ID §2."""


class InvalidCertificateError(IdentityError):
    """A certificate, a key, or PEM text that should hold one cannot be used."""


class ExpiredCertificateError(InvalidCertificateError):
    """A certificate does not hold at the moment asked for."""


class InvalidBundleError(InvalidCertificateError):
    """The text that should hold a trust domain's roots cannot be used."""


class InvalidRequestError(IdentityError):
    """A certificate signing request cannot be granted as it stands."""


class InvalidAuthorityError(IdentityError):
    """The material of a certificate authority does not fit together."""


class ExpiredAuthorityError(InvalidAuthorityError):
    """A certificate of the authority's chain is not valid at the moment asked for."""
