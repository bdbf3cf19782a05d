"""Composition root: settings and an account become source, store and engine; a run becomes what it leaves behind."""

from worker.bootstrap.database import apply_roles, migrate, schema_revision
from worker.bootstrap.mirror import Mirror, ask_upstream
from worker.bootstrap.turns import Report
from worker.store import accounts, credentials, feed, owners, problems, roles, rotation, showcase, status
from worker.store.accounts import AccountRow
from worker.sync.confirm import Confirmed
from worker.sync.repair import Repaired
from worker.sync.run import Totals
from worker.sync.verify import Verdict

__all__ = [
    "AccountRow",
    "Confirmed",
    "Mirror",
    "Repaired",
    "Report",
    "Totals",
    "Verdict",
    "accounts",
    "apply_roles",
    "ask_upstream",
    "credentials",
    "feed",
    "migrate",
    "owners",
    "problems",
    "roles",
    "rotation",
    "schema_revision",
    "showcase",
    "status",
]
