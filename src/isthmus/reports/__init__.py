"""What gateways report of calls that fail: the server of Envoy's access log service, and its entries as values.

Belongs here: decoding, bounds, the pace. What a report means for a peer is ``pilot``'s, which alone imports this room.
"""

from isthmus.reports.entries import GatewayReport, reports_of
from isthmus.reports.server import ReportService

__all__ = ["GatewayReport", "ReportService", "reports_of"]
