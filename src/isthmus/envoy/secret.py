"""Trust bundles of peers as secrets: who can vouch for whom.

One bundle for each trust domain, checked by Envoy's SPIFFE validator: a root can never vouch for another domain than
its own. Sources: Envoy ``SPIFFECertValidatorConfig``; SPIFFE Trust Domain and Bundle §4; docs/architecture.md.
"""

from collections.abc import Iterable
from typing import Any

from envoy.extensions.transport_sockets.tls.v3 import common_pb2, secret_pb2, tls_spiffe_validator_config_pb2

from isthmus.envoy.message import packed
from isthmus.identity import TrustBundle


def trust_secret(name: str, bundles: Iterable[TrustBundle]) -> Any:
    """A ``Secret`` that validates certificates of these trust domains, each by its own roots.

    Bundles of one trust domain (two peers that share it) are joined. The caller does not ask for a secret without any
    bundle: Envoy refuses one, and a listener that trusts nobody must not exist.
    """
    roots: dict[str, set[str]] = {}
    for bundle in bundles:
        roots.setdefault(bundle.trust_domain.name, set()).add(bundle.pem().decode())
    domains = [
        tls_spiffe_validator_config_pb2.SPIFFECertValidatorConfig.TrustDomain(
            name=domain, trust_bundle={"inline_string": "".join(sorted(pems))}
        )
        for domain, pems in sorted(roots.items())
    ]
    validator = tls_spiffe_validator_config_pb2.SPIFFECertValidatorConfig(trust_domains=domains)
    context = common_pb2.CertificateValidationContext(
        custom_validator_config={"name": "envoy.tls.cert_validator.spiffe", "typed_config": packed(validator)}
    )
    return secret_pb2.Secret(name=name, validation_context=context)
