"""From when the certificates that a lab makes are valid."""

from datetime import timedelta

BACKDATE = timedelta(days=1)
"""Certificates are valid from a day before they are made, so that clocks may differ and be set back."""
