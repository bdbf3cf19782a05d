"""The web page: how every account stands, drawn from the ledger; figures for Prometheus; never any mail.

Nothing here looks into schema `mail` but to count. It reads as whoever DATABASE_URL names, in sessions that cannot
write; the one thing that can be done here is to have problems tried again, and only with a token.
"""

from worker.web.access import Access
from worker.web.server import Listening, listen, serving

__all__ = ["Access", "Listening", "listen", "serving"]
