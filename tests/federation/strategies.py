"""Messages between meshes for Hypothesis."""

from hypothesis import strategies as st

from isthmus.federation.messages import Health, Locality, ServiceMessage, ServicePort

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ports = st.builds(ServicePort, names, st.integers(0, 65535), st.sampled_from(["HTTP", "GRPC", "TCP", ""]))
health = st.builds(Health, st.integers(0, 9), st.integers(0, 9))
locality = st.builds(Locality, names, names, names)

HOSTNAMES = tuple(f"{name}.bookinfo.svc.red-mesh-exports.local" for name in ("details", "ratings", "reviews", "x"))


def services(hostnames: st.SearchStrategy[str] | None = None) -> st.SearchStrategy[ServiceMessage]:
    """Any services; of a few hostnames, so that they meet, if none are given."""
    return st.builds(
        ServiceMessage,
        name=names,
        namespace=names,
        hostname=hostnames or st.sampled_from(HOSTNAMES),
        service_ports=st.lists(ports, max_size=3).map(tuple),
        service_accounts=st.lists(names, max_size=2).map(tuple),
        health=st.none() | health,
        locality=st.none() | locality,
    )


service_lists = st.lists(services(), max_size=6, unique_by=lambda service: service.hostname)
