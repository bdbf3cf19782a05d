"""The pulse of a demo: how much is mirrored, how fast, and how long a change takes to become a row."""

import statistics
import time
from typing import TYPE_CHECKING, Any

from worker.cli import output
from worker.sandbox import Sandbox

if TYPE_CHECKING:
    from worker.bootstrap import Mirror
    from worker.store.status import AccountStatus

RATE_OVER = 3.0
"""Seconds over which the rate is measured."""


class Pulse:
    """Watches the sandbox's log and the mirror, and says how the one follows the other."""

    def __init__(self, mirror: "Mirror", sandbox: Sandbox, accounts: dict[int, int]) -> None:
        self._mirror = mirror
        self._sandbox = sandbox
        self._accounts = accounts
        self._heard = dict.fromkeys(accounts, 0)
        self._waiting: dict[tuple[int, str], float] = {}
        self._counts: list[tuple[float, int]] = []
        self.lags: list[float] = []
        self.changes = 0
        self.standing: list[AccountStatus] = []

    def take(self) -> None:
        """Look at both ends."""
        from worker.bootstrap import showcase, status  # loads the database layer

        for account, upstream in self._accounts.items():
            log: Any = self._sandbox.admin(f"/accounts/{upstream}/log?after={self._heard[account]}&limit=1000")
            for change in log["changes"]:
                self._heard[account] = change["seq"]
                self.changes += 1
                if change["kind"] == "add":
                    self._waiting[account, change["message_id"]] = change["seconds"]
        for key, seen in showcase.first_seen(self._mirror.engine, list(self._waiting)).items():
            self.lags.append(max(0.0, seen - self._waiting.pop(key)))
        ours = self._accounts.keys()
        self.standing = [s for s in status.fleet(self._mirror.engine) if s.id in ours]
        now = time.monotonic()
        self._counts = [(at, n) for at, n in self._counts if now - at <= RATE_OVER] + [(now, self.messages)]

    @property
    def messages(self) -> int:
        """Live messages in the mirror."""
        return sum(s.live or 0 for s in self.standing)

    @property
    def complete(self) -> bool:
        """Whether every account's past is mirrored to its beginning."""
        return bool(self.standing) and all(s.complete for s in self.standing)

    @property
    def problems(self) -> int:
        """Open problems."""
        return sum(s.problems for s in self.standing)

    def lag(self, share: float = 0.5) -> float | None:
        """The lag that this share of the changes stayed below, in seconds."""
        if not self.lags:
            return None
        return sorted(self.lags)[min(len(self.lags) - 1, int(share * len(self.lags)))]

    def line(self) -> str:
        """All of it in one line."""
        (began, before), (ended, now) = self._counts[0], self._counts[-1]
        pace = output.rate(now - before, ended - began) if ended > began else "…"
        back = min((s.complete_to for s in self.standing if s.complete_to), default=None)
        history = "complete" if self.complete else f"back to {output.day(back)}" if back else "beginning"
        recent = statistics.median(self.lags[-20:]) if self.lags else None
        lag = f", row after {recent:.1f} s" if recent is not None else ""
        busy = sum(1 for s in self.standing if s.status == "backing_off")
        waits = f", {busy} backing off" if busy else ""
        return (
            f"{output.counted(len(self.standing), 'account')}, history {history}, "
            f"{output.counted(self.messages, 'message')} ({pace}), {self.changes:,} changes seen{lag}{waits}"
        )
