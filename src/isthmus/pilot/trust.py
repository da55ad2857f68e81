"""The mesh's CA and the pilot's own certificate.

The CA is the one that the administrator put into Secret ``cacerts``, else a self-signed one in ``istio-ca-secret``,
made once and shared by all replicas. Its root is published in ConfigMap ``istio-ca-root-cert``. Source:
docs/architecture.md, "Identity and trust".
"""

import asyncio
import base64
from collections.abc import Callable
from datetime import datetime
from typing import NoReturn

import structlog
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap, Secret

from isthmus.clock import CLOCK, Clock
from isthmus.identity import Authority, InvalidAuthorityError, SpiffeId, Term, TrustBundle, TrustDomain, X509Svid
from isthmus.kube import Client
from isthmus.kube.errors import AlreadyExists, NotFound, translated
from isthmus.news import News
from isthmus.pilot.settings import Settings

log = structlog.get_logger(__name__)

BROUGHT = "cacerts"
SELF_SIGNED = "istio-ca-secret"
ROOT_CONFIG_MAP = "istio-ca-root-cert"
ROOT_KEY = "root-cert.pem"
LEAST_WAIT_S = 1.0
LONGEST_WAIT_S = 30.0
"""Between looks at the clock, which may be set."""


async def load_authority(client: Client, settings: Settings) -> Authority:
    """The mesh's CA; made and stored if there is none.

    Raises:
        InvalidAuthorityError: the Secret that the administrator brought cannot be used; the message names the part.
        KubeError: the Secrets could not be read or written.
    """
    now = CLOCK.now()
    brought = await _secret(client, BROUGHT, settings.namespace)
    if brought is not None:
        return _authority(brought, now=now)
    stored = await _secret(client, SELF_SIGNED, settings.namespace)
    if stored is None:
        stored = await _store(client, Authority.self_signed(settings.trust_domain, now=now), settings.namespace)
    return _authority(stored, now=now)


async def publish_root(client: Client, authority: Authority, settings: Settings) -> None:
    """Write the root where gateways and administrators of other meshes find it."""
    config_map = ConfigMap(
        metadata=ObjectMeta(name=ROOT_CONFIG_MAP, namespace=settings.namespace),
        data={ROOT_KEY: authority.root_cert_pem.decode()},
    )
    with translated(f"apply ConfigMap {settings.namespace}/{ROOT_CONFIG_MAP}"):
        await client.api.apply(config_map, force=True)


class OwnIdentity:
    """The pilot's certificate, kept valid. ``current`` may be called from any thread."""

    def __init__(self, authority: Authority, settings: Settings, identity: SpiffeId, *, clock: Clock = CLOCK) -> None:
        """Issue the first certificate.

        Raises:
            InvalidAuthorityError: the CA cannot issue any, for instance because its time is over.
        """
        self._authority = authority
        self._settings = settings
        self._identity = identity
        self._clock = clock
        self._subscribers: list[Callable[[X509Svid], None]] = []
        self._svid = self._issue()

    def current(self) -> X509Svid:
        """The certificate to present now."""
        return self._svid

    def subscribe(self, subscriber: Callable[[X509Svid], None]) -> None:
        """Call ``subscriber`` with each new certificate."""
        self._subscribers.append(subscriber)

    async def run(self) -> NoReturn:
        """Renew the certificate at half of its life, until cancelled.

        While the CA can issue none, since its time is over or a clock was set, the last one is kept.
        """
        news: News[str] = News()
        while True:
            await self._wait_due()
            try:
                self._svid = self._issue()
            except InvalidAuthorityError as error:
                if news.is_new("", str(error)):
                    log.warning("own certificate not renewed, trying on", reason=str(error))
                continue
            news.settled("")
            log.info("own certificate renewed", not_after=self._svid.leaf.not_valid_after_utc.isoformat())
            for subscriber in self._subscribers:
                subscriber(self._svid)

    async def _wait_due(self) -> None:
        clock, left_s = self._clock, LEAST_WAIT_S
        term = Term.of(self._svid.leaf, now=clock.now(), now_s=clock.monotonic_s(), jitter=0.5)
        while left_s > 0:
            await asyncio.sleep(min(left_s, LONGEST_WAIT_S))
            left_s = term.left_s(now=clock.now(), now_s=clock.monotonic_s())

    def _issue(self) -> X509Svid:
        return self._authority.issue_svid(
            self._identity,
            lifetime=self._settings.certificate_lifetime,
            now=self._clock.now(),
            dns_names=self._settings.service_names,
        )


def own_bundle(authority: Authority, trust_domain: TrustDomain) -> TrustBundle:
    """The roots of our own mesh."""
    return TrustBundle.of(trust_domain, authority.roots)


async def _secret(client: Client, name: str, namespace: str) -> dict[str, bytes] | None:
    try:
        with translated(f"read Secret {namespace}/{name}"):
            secret = await client.api.get(Secret, name, namespace=namespace)
    except NotFound:
        return None
    return {key: base64.b64decode(value) for key, value in (secret.data or {}).items()}


async def _store(client: Client, authority: Authority, namespace: str) -> dict[str, bytes]:
    """Store a new CA; if another replica was faster, theirs counts."""
    content = {
        "ca-cert.pem": authority.ca_cert_pem,
        "ca-key.pem": authority.ca_key_pem,
        "cert-chain.pem": authority.cert_chain_pem,
        "root-cert.pem": authority.root_cert_pem,
    }
    secret = Secret(
        metadata=ObjectMeta(name=SELF_SIGNED, namespace=namespace),
        type="istio.io/ca-root",
        data={key: base64.b64encode(value).decode() for key, value in content.items()},
    )
    try:
        with translated(f"create Secret {namespace}/{SELF_SIGNED}"):
            await client.api.create(secret)
    except AlreadyExists:
        theirs = await _secret(client, SELF_SIGNED, namespace)
        if theirs is not None:
            return theirs
    log.info("self-signed CA created", secret=SELF_SIGNED)
    return content


def _authority(content: dict[str, bytes], *, now: datetime) -> Authority:
    # Istio's own istio-ca-secret has no root-cert.pem: its CA is its own root.
    return Authority.load(
        ca_cert=content.get("ca-cert.pem", b""),
        ca_key=content.get("ca-key.pem", b""),
        cert_chain=content.get("cert-chain.pem", b""),
        root_cert=content.get("root-cert.pem") or content.get("ca-cert.pem", b""),
        now=now,
    )
