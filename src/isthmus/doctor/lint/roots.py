"""Whether the roots that peers name are there, can be read, and are valid. Pure; the time comes in as an argument."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from isthmus.doctor.lint.findings import Finding, Severity
from isthmus.doctor.lint.meshes import Pair
from isthmus.doctor.lint.resources import Resource
from isthmus.identity import IdentityError, TrustBundle, TrustDomain

ROOT_KEY = "root-cert.pem"
ROOT_CONFIG_MAP = "istio-ca-root-cert"
SOON = timedelta(days=30)


def root_findings(pairs: Sequence[Pair], now: datetime) -> Iterator[Finding]:
    """Everything that is wrong with the roots of peers."""
    for pair in pairs:
        if pair.spec.spec.security.trust_domain in pair.mesh.trust_domains:
            continue  # our own root counts, whatever the resource names
        name = pair.spec.root_config_map
        found = pair.mesh.config_maps.get(name)
        if found is None:
            yield from _missing(pair, name)
        else:
            yield from _root(pair, found, now)


def _missing(pair: Pair, name: str) -> Iterator[Finding]:
    place = pair.peer.where("spec", "security", "certificateChain", "name")
    message = f"ConfigMap {pair.mesh.namespace}/{name} with the root of {pair.peer.name} is not among the files"
    fix = "add it, unless it is made by other means"
    yield Finding(place, Severity.WARNING, "RootNotFound", message, fix)


def _root(pair: Pair, config_map: Resource, now: datetime) -> Iterator[Finding]:
    pem = config_map.node.text("data", ROOT_KEY)
    place = config_map.where("data", ROOT_KEY)
    if config_map.node.at("data", ROOT_KEY) is None:
        message = f"{config_map} has no key {ROOT_KEY}"
        yield Finding(
            place, Severity.ERROR, "RootKeyMissing", message, f"add the root of {pair.peer.name} as {ROOT_KEY}"
        )
        return
    try:
        bundle = TrustBundle.parse(TrustDomain(pair.spec.spec.security.trust_domain), pem)
    except IdentityError as error:
        message = f"{config_map}, key {ROOT_KEY}: {error}"
        yield Finding(place, Severity.ERROR, "RootInvalid", message, "put the root there as PEM")
        return
    for root in bundle.roots:
        until = root.not_valid_after_utc
        if until <= now:
            message = f"{config_map}: a root has expired on {until:%Y-%m-%d}"
            yield Finding(place, Severity.ERROR, "RootExpired", message, f"get the present one of {pair.peer.name}")
        elif root.not_valid_before_utc > now:
            message = f"{config_map}: a root is not valid before {root.not_valid_before_utc:%Y-%m-%d}"
            yield Finding(place, Severity.WARNING, "RootNotYetValid", message, "check the clock, or wait")
        elif until - now < SOON:
            message = f"{config_map}: a root expires on {until:%Y-%m-%d}"
            yield Finding(place, Severity.WARNING, "RootExpiresSoon", message, f"ask {pair.peer.name} for the next one")
    yield from _another(pair, config_map, bundle)


def _another(pair: Pair, config_map: Resource, bundle: TrustBundle) -> Iterator[Finding]:
    """If the other mesh's own root is among the files, ours must have it."""
    published = pair.other.config_maps.get(ROOT_CONFIG_MAP) if pair.other else None
    if published is None:
        return
    try:
        theirs = TrustBundle.parse(bundle.trust_domain, published.node.text("data", ROOT_KEY))
    except IdentityError:
        return  # told where it is used
    if set(theirs.fingerprints()).isdisjoint(bundle.fingerprints()):
        message = f"{config_map} does not have the root that {published} of {pair.peer.name} has"
        place = config_map.where("data", ROOT_KEY)
        yield Finding(place, Severity.ERROR, "WrongRoot", message, f"copy it from {published.node.place}")
