"""Keys, and certificate signing requests (PKCS #10, RFC 2986), from both sides.

A request proves that its sender holds the key; nothing else in it is believed, whatever names it carries.
"""

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from isthmus.identity.errors import InvalidCertificateError, InvalidRequestError
from isthmus.identity.pem import PrivateKey, PublicKey, check_strength
from isthmus.identity.spiffe import SpiffeId

# An EC request has about 500 bytes, one for RSA with 4096 bits about 1800.
MAX_REQUEST_BYTES = 16 * 1024


def new_private_key() -> ec.EllipticCurvePrivateKey:
    """A new EC key on P-256: what Envoy and every mesh that we federate with can use, and the fastest of them."""
    return ec.generate_private_key(ec.SECP256R1())


def signing_request(key: PrivateKey, spiffe_id: SpiffeId) -> bytes:
    """A PEM request for ``spiffe_id``, signed with ``key``."""
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(spiffe_id))])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(names, critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def requested_key(request_pem: bytes | str) -> PublicKey:
    """The public key that ``request_pem`` asks a certificate for, proved by the request's own signature.

    Raises InvalidRequestError: the text is too long or not a PEM request, its signature does not fit, or the key is
    of a kind or size that is not accepted.
    """
    text = request_pem.encode(errors="replace") if isinstance(request_pem, str) else request_pem
    if len(text) > MAX_REQUEST_BYTES:
        raise InvalidRequestError(f"the request is {len(text)} bytes long, expected {MAX_REQUEST_BYTES} at most")
    try:
        request = x509.load_pem_x509_csr(text)
        proved = request.is_signature_valid
        key = check_strength(request.public_key())
    except InvalidCertificateError as error:
        raise InvalidRequestError(f"the request cannot be granted: {error}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature) as error:
        raise InvalidRequestError("not a PEM certificate signing request that can be read") from error
    if not proved:
        raise InvalidRequestError(
            "the request's signature does not fit its key: it does not prove that its sender has it"
        )
    return key
