"""The certificate service of a mesh, both ends of its gRPC: a token and a signing request for a short-lived SVID.

Belongs here: the messages, the server, the client, TLS with a certificate that changes while serving. Must not: check
tokens (whoever serves brings an ``Authenticator``), issue (that is ``identity``), know Kubernetes or Envoy.
"""

from isthmus.ca.client import CertificateClient, channel_target
from isthmus.ca.credentials import server_credentials
from isthmus.ca.errors import CertificateError, RefusedError, UnavailableError, UnusableError
from isthmus.ca.service import (
    Authenticator,
    CertificateService,
    ServiceAccountIdentity,
    TokenRefusedError,
    TokenReviewUnavailableError,
)

__all__ = [
    "Authenticator",
    "CertificateClient",
    "CertificateError",
    "CertificateService",
    "RefusedError",
    "ServiceAccountIdentity",
    "TokenRefusedError",
    "TokenReviewUnavailableError",
    "UnavailableError",
    "UnusableError",
    "channel_target",
    "server_credentials",
]
