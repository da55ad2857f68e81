"""Why a client has no certificate, grouped by who can change it.

CertificateError
├── UnavailableError    nobody has to: the service does not answer now; try again
├── RefusedError        the one who asks: the service does not accept the token or the request
└── UnusableError       the administrator: what was issued does not fit the mesh's root or the identity asked for
"""


class CertificateError(Exception):
    """Base of what asking for a certificate raises; the message is one line."""


class UnavailableError(CertificateError):
    """The service could not be reached, its certificate was not accepted, or it could not decide now."""


class RefusedError(CertificateError):
    """The service does not accept the token or the request."""


class UnusableError(CertificateError):
    """The service answered, but with a certificate that would not be accepted in this mesh."""
