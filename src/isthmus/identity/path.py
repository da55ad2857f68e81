"""Whether a certificate leads to a root, and through which others (RFC 5280 §6, as far as a mesh's CA needs it).

Names, signatures, basicConstraints with path length, keyUsage and times are checked. Not checked: revocation, name
constraints and policies, which Envoy checks where traffic is.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from isthmus.identity.errors import ExpiredCertificateError, InvalidCertificateError
from isthmus.identity.validity import described, validity_error

MAX_PATH_LENGTH = 8

Path = tuple[x509.Certificate, ...]


def path_to_root(
    certificate: x509.Certificate,
    *,
    intermediates: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
    now: datetime,
) -> Path:
    """The certificates from ``certificate`` to one of ``roots``, both included.

    Raises InvalidCertificateError: no such path, or a certificate on it must not sign what it signed;
    ExpiredCertificateError: a certificate on it does not hold at ``now``.
    """
    path = _search((certificate,), (*roots, *intermediates), frozenset(roots))
    if path is None:
        raise InvalidCertificateError(_dead_end(certificate, (*intermediates, *roots)))
    for depth, issuer in enumerate(path[1:]):
        check_issuer(issuer, intermediates_below=depth)
    for one in path:
        if error := validity_error(one, now):
            raise ExpiredCertificateError(f"the certificate {described(one)} {error}")
    return path


def check_issuer(certificate: x509.Certificate, *, intermediates_below: int = 0) -> None:
    """Check that ``certificate`` may sign certificates, with so many CAs between it and a leaf.

    Raises InvalidCertificateError: it may not, and why.
    """
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        raise InvalidCertificateError(
            f"the certificate {described(certificate)} is not a CA: no basicConstraints"
        ) from None
    if not constraints.ca:
        raise InvalidCertificateError(
            f"the certificate {described(certificate)} is not a CA: basicConstraints says CA:FALSE"
        )
    if constraints.path_length is not None and constraints.path_length < intermediates_below:
        raise InvalidCertificateError(
            f"the CA {described(certificate)} allows {constraints.path_length} CAs below it, "
            f"the chain has {intermediates_below}"
        )
    if not may_sign_certificates(certificate):
        raise InvalidCertificateError(f"the CA {described(certificate)} lacks keyCertSign in its keyUsage")


def may_sign_certificates(certificate: x509.Certificate) -> bool:
    """Whether keyUsage, if there is one, has keyCertSign."""
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return True


def issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether ``issuer`` is named as the issuer of ``certificate`` and its key made the signature."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _search(path: Path, issuers: Sequence[x509.Certificate], roots: frozenset[x509.Certificate]) -> Path | None:
    """Depth first, so that a cross-signed issuer that leads nowhere does not hide the one that does."""
    if path[-1] in roots:
        return path
    if len(path) > MAX_PATH_LENGTH:
        return None
    for issuer in issuers:
        if issuer not in path and issued_by(path[-1], issuer):
            found = _search((*path, issuer), issuers, roots)
            if found is not None:
                return found
    return None


def _dead_end(certificate: x509.Certificate, issuers: Iterable[x509.Certificate]) -> str:
    """Follow the names upwards and say where the chain breaks."""
    known = tuple(issuers)
    current, seen = certificate, {certificate}
    while following := [one for one in known if one not in seen and issued_by(current, one)]:
        current = following[0]
        seen.add(current)
    if any(one.subject == current.issuer and one != current for one in known):
        return (
            f"the chain does not reach the root: {described(current)} names {current.issuer.rfc4514_string()!r} as its "
            "issuer, but the certificate given under that name did not sign it"
        )
    return (
        f"the chain does not reach the root: the issuer {current.issuer.rfc4514_string()!r} of {described(current)} "
        "is neither among the roots nor in the chain"
    )
