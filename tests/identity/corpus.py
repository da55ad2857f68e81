"""Certificates for tests, made on the spot; each defect has a name."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from isthmus.identity.pem import PrivateKey

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
SPIFFE_ID = "spiffe://red-mesh.local/ns/red-mesh-system/sa/egress"

P256 = ec.generate_private_key(ec.SECP256R1())
OTHER_P256 = ec.generate_private_key(ec.SECP256R1())
P384 = ec.generate_private_key(ec.SECP384R1())
RSA2048 = rsa.generate_private_key(65537, 2048)
WEAK_RSA = rsa.generate_private_key(65537, 1024)  # noqa: S505  (weak on purpose: it is to be refused)


def usage(**granted: bool) -> x509.KeyUsage:
    """A keyUsage with the bits named."""
    bits = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    none = dict.fromkeys((*bits, "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(**{**none, **granted})


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A certificate to be; a field that is None leaves its extension out."""

    subject: str = ""
    key: PrivateKey = P256
    ca: bool | None = False
    path_length: int | None = None
    key_usage: x509.KeyUsage | None = usage(digital_signature=True)  # noqa: RUF009  (immutable)
    uris: tuple[str, ...] = (SPIFFE_ID,)
    purposes: tuple[x509.ObjectIdentifier, ...] | None = (
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
    )
    not_before: datetime = NOW - DAY
    not_after: datetime = NOW + DAY

    def signed_by(self, issuer: str, key: PrivateKey) -> x509.Certificate:
        """The certificate, signed with ``key`` under the name ``issuer``."""
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(self.subject))
            .issuer_name(name(issuer))
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.not_before)
            .not_valid_after(self.not_after)
        )
        for extension in self._extensions():
            builder = builder.add_extension(extension, critical=True)
        return builder.sign(key, hashes.SHA256())

    def self_signed(self) -> x509.Certificate:
        """The certificate, signed with its own key."""
        return self.signed_by(self.subject, self.key)

    def _extensions(self) -> list[x509.ExtensionType]:
        extensions: list[x509.ExtensionType] = []
        if self.ca is not None:
            extensions.append(x509.BasicConstraints(ca=self.ca, path_length=self.path_length))
        if self.key_usage is not None:
            extensions.append(self.key_usage)
        if self.uris:
            uris = [x509.UniformResourceIdentifier(uri) for uri in self.uris]
            extensions.append(x509.SubjectAlternativeName(uris))
        if self.purposes is not None:
            extensions.append(x509.ExtendedKeyUsage(self.purposes))
        return extensions


LEAF = Recipe()
CA = Recipe(subject="root", ca=True, key_usage=usage(key_cert_sign=True, crl_sign=True), uris=(), purposes=None)

# Each with a piece of what is said about it.
BROKEN_LEAVES: dict[str, tuple[Recipe, str]] = {
    "no URI name": (replace(LEAF, uris=()), "0 URI names"),
    "two URI names": (replace(LEAF, uris=(SPIFFE_ID, SPIFFE_ID + "2")), "2 URI names"),
    "URI of another scheme": (replace(LEAF, uris=("https://red-mesh.local/x",)), "does not start with spiffe://"),
    "upper-case trust domain": (replace(LEAF, uris=("spiffe://Red.local/x",)), "only a-z"),
    "trust domain only": (replace(LEAF, uris=("spiffe://red-mesh.local",)), "names a trust domain"),
    "is a CA": (replace(LEAF, ca=True), "is a CA"),
    "no keyUsage": (replace(LEAF, key_usage=None), "no keyUsage"),
    "no digitalSignature": (replace(LEAF, key_usage=usage(key_encipherment=True)), "digitalSignature"),
    "keyCertSign": (replace(LEAF, key_usage=usage(digital_signature=True, key_cert_sign=True)), "keyCertSign"),
    "cRLSign": (replace(LEAF, key_usage=usage(digital_signature=True, crl_sign=True)), "cRLSign"),
    "server only": (replace(LEAF, purposes=(ExtendedKeyUsageOID.SERVER_AUTH,)), "clientAuth"),
    "client only": (replace(LEAF, purposes=(ExtendedKeyUsageOID.CLIENT_AUTH,)), "serverAuth"),
}

BROKEN_ROOTS: dict[str, tuple[Recipe, str]] = {
    "a leaf": (replace(CA, ca=False), "CA:FALSE"),
    "no basicConstraints": (replace(CA, ca=None), "no basicConstraints"),
    "no keyCertSign": (replace(CA, key_usage=usage(digital_signature=True)), "keyCertSign"),
}


def name(common_name: str) -> x509.Name:
    """A distinguished name; an empty one for an empty ``common_name``."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])


def damaged(pem: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """``pem`` with its body changed, its first and last lines kept."""
    first, *body, last = pem.splitlines(keepends=True)
    return first + change(b"".join(body)) + last
