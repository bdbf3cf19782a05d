"""Composition root: settings and an account become source, store and engine; a run becomes what it leaves behind."""

from worker.bootstrap.mirror import Mirror, ask_upstream, migrate, schema_revision
from worker.bootstrap.turns import Report
from worker.store import accounts, owners, problems, showcase, status
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
    "ask_upstream",
    "migrate",
    "owners",
    "problems",
    "schema_revision",
    "showcase",
    "status",
]
