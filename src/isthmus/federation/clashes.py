"""Peers of one mesh that cannot both be served: the later one is not, and is told why.

Pure; who is older is for the caller to say. Source: docs/reference.md §3; docs/architecture.md, "Identity and trust".
"""

from collections.abc import Iterable

from isthmus.federation.peer import PeerConfig, PeerConfigError


def refused_by_others(configs: Iterable[PeerConfig]) -> dict[str, PeerConfigError]:
    """Which of these peers, oldest first, must not be served because of one that is older and served, and why."""
    served: list[PeerConfig] = []
    refused: dict[str, PeerConfigError] = {}
    for config in configs:
        clash = next((each for each in (_clash(config, older) for older in served) if each is not None), None)
        if clash is None:
            served.append(config)
        else:
            refused[config.name] = clash
    return refused


def _clash(config: PeerConfig, older: PeerConfig) -> PeerConfigError | None:
    if config.client == older.client and config.ingress == older.ingress:
        return PeerConfigError(
            "ClientIDTaken",
            f"spec.security.clientID {config.client.without_scheme} is that of ServiceMeshPeer {older.name} already,"
            f" and both name ingress gateway {config.ingress}, which could not tell them apart: correct one of the two,"
            " or name another gateway",
        )
    ours, theirs = config.remote.bundle, older.remote.bundle
    if ours.trust_domain == theirs.trust_domain and not set(ours.roots) & set(theirs.roots):
        return PeerConfigError(
            "TrustDomainTaken",
            f"trust domain {ours.trust_domain} is that of ServiceMeshPeer {older.name} already, which has other roots,"
            " and neither may vouch for the other: correct spec.security.trustDomain, or the root in one of the"
            " ConfigMaps",
        )
    return None
