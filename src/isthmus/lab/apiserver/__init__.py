"""The Kubernetes REST API on SQLite: storage, discovery, reading, writing, watching, CRDs, identities."""
