"""Who may answer for an import: the identities that the peer names, as far as they are of its own trust domain.

Pure. Whom a peer may not speak for does not count; where nobody is left, nothing leads to the import (fail closed).
"""

from functools import lru_cache

from isthmus.federation.messages import FEW
from isthmus.identity import IdentityError, SpiffeId, TrustDomain


def servers_of(accounts: tuple[str, ...], trust_domain: TrustDomain) -> tuple[SpiffeId, ...]:
    """The identities among a message's ``service_accounts`` that count, sorted; others are passed over."""
    return (_kept_servers if len(accounts) <= FEW else _servers)(accounts, trust_domain)


def _servers(accounts: tuple[str, ...], trust_domain: TrustDomain) -> tuple[SpiffeId, ...]:
    found = set()
    for account in accounts:
        try:
            identity = SpiffeId.parse(account)
        except IdentityError:
            continue
        if identity.trust_domain == trust_domain:
            found.add(identity)
    return tuple(sorted(found))


_kept_servers = lru_cache(maxsize=256)(_servers)
"""One object for all imports of a peer, whose accounts are the same; of long lists none is kept."""
