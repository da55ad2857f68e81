"""The pod's certificate and the mesh's root as Envoy gets them: two ``Secret`` resources.

Source: Envoy ``envoy.extensions.transport_sockets.tls.v3.Secret``. The private key is in the first and goes nowhere
else than through the Unix socket between agent and Envoy.
"""

from envoy.extensions.transport_sockets.tls.v3 import secret_pb2

from isthmus.envoy import tls
from isthmus.envoy.message import serialised
from isthmus.identity import TrustBundle, X509Svid
from isthmus.xds import Resource


def certificate_resource(svid: X509Svid) -> Resource:
    """``default``: the key, and leaf with intermediates."""
    certificate = {"certificate_chain": {"inline_bytes": svid.chain_pem}, "private_key": {"inline_bytes": svid.key_pem}}
    return _resource(secret_pb2.Secret(name=tls.OWN_CERTIFICATE, tls_certificate=certificate))


def root_resource(bundle: TrustBundle) -> Resource:
    """``ROOTCA``: the roots of our own mesh."""
    context = {"trusted_ca": {"inline_bytes": bundle.pem()}}
    return _resource(secret_pb2.Secret(name=tls.OWN_ROOT, validation_context=context))


def _resource(secret: secret_pb2.Secret) -> Resource:
    return Resource.of(secret.name, serialised(secret))
