"""The certificate by which a node serves logs."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from isthmus.lab.node.certificate import write_self_signed


def test_it_is_valid_when_the_clock_is_set_back(tmp_path: Path) -> None:
    """It is valid from a day before it is made, as those of the API server are."""
    now, file = datetime(2026, 1, 2, tzinfo=UTC), tmp_path / "serving.pem"
    write_self_signed(file, name="node", address="127.0.0.1", now=now)
    certificate = x509.load_pem_x509_certificate(file.read_bytes())
    assert certificate.not_valid_before_utc == now - timedelta(days=1)
    assert file.stat().st_mode & 0o777 == 0o600
