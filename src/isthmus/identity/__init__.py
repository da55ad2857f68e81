"""Who someone is, and how that is proved: trust domains, SPIFFE ids, X.509 certificates, trust bundles.

Belongs here: parsing and issuing, as pure functions (the moment is an argument). Must not: know a mesh, a peer,
a file or a socket. Everybody above may import it.
"""
