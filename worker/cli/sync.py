"""`mailmirror sync`: one account, or all, to quiescence in the foreground."""

import time
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from msgspec import Struct

from worker.cli import output, progress, session
from worker.cli.accounts import NONE_YET, Json
from worker.cli.interrupts import Interrupts
from worker.cli.progress import Watch
from worker.errors import LeaseHeldError, MailmirrorError, RetryLaterError, ThrottledError, UsageError

if TYPE_CHECKING:
    from worker.bootstrap import AccountRow, Mirror, Totals
    from worker.store.status import AccountStatus

AT_WORK = frozenset({"active", "backing_off", "degraded"})
LONGEST_PAUSE = 60.0
"""Seconds an upstream may ask us to wait in the foreground, all in all while nothing gets done."""
SHORTEST_PAUSE = 0.5
PAUSES = (1.0, 3.0, 9.0)
"""Before a failing upstream or database is tried again, while nothing gets done."""
PROGRESS = 100
"""Messages read in one attempt that count as getting something done: a lively mailbox alone reads fewer."""
SEVERITY = (output.DONE, output.PROBLEMS, output.USAGE, output.FAILED)

COUNTS = ("commits", "added", "updated", "unchanged", "tombstoned", "revived", "walks")


class Result(Struct, frozen=True, kw_only=True):
    """How one account came out."""

    account: int
    label: str
    outcome: Literal["done", "partial", "failed"]
    code: int
    reason: str | None = None
    counts: dict[str, int] = {}
    requests: int = 0
    seconds: float = 0.0
    problems: int = 0
    complete: bool = False

    @property
    def read(self) -> int:
        """Messages looked at."""
        return sum(self.counts.get(name, 0) for name in ("added", "updated", "unchanged", "revived"))


def sync(
    account: Annotated[
        str | None, typer.Argument(metavar="ACCOUNT", help="An account's number or address; all without it.")
    ] = None,
    *,
    max_time: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0, help="Stop after this long; the exit code is 3 if something is left."),
    ] = None,
    wait: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0, help="Wait up to this long for another worker on the same account."),
    ] = 0.0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing but errors.")] = False,
    as_json: Json = False,
) -> int:
    """Mirror one account, or all, until nothing is left to do."""
    began = time.monotonic()
    with (
        Interrupts() as interrupts,
        session.mirror(interrupts) as mirror,
        progress.watching(quiet=quiet) as watch,
    ):
        interrupts.tell = watch.remark
        deadline = None if max_time is None else began + max_time
        chosen = _chosen(mirror, account, watch)
        results = [_Sitting(mirror, each, watch, interrupts, deadline=deadline, wait=wait).result() for each in chosen]
    if as_json:
        output.document([_shown(result) for result in results])
    for result in results:
        if result.outcome == "failed":
            output.fail(_named(result, several=len(results) > 1))
        elif not (as_json or quiet):
            output.say(_sentence(result))
    return max((result.code for result in results), key=SEVERITY.index, default=output.DONE)


def _chosen(mirror: "Mirror", wanted: str | None, watch: Watch) -> list["AccountRow"]:
    from worker.bootstrap import accounts  # loads the database layer

    if wanted is not None:
        found = accounts.find(mirror.engine, wanted)
        if found.status == "gone":
            why = found.status_reason or "The upstream no longer knows it."
            again = f"Give it a token again: mailmirror accounts token {found.id} --token-stdin"
            raise UsageError(f"Account {found.label} is not mirrored any more. {why} {again}")
        return [found]
    every = accounts.list_all(mirror.engine)
    if not every:
        watch.remark(NONE_YET)
    chosen = [each for each in every if each.status in AT_WORK]
    for left in every:
        if left.status not in AT_WORK and left.status != "gone":
            watch.remark(f"Account {left.label} is left out ({left.status}). {left.status_reason or ''}".strip())
    if every and not chosen:
        watch.remark("No account is to be mirrored now.")
    return chosen


class _Sitting:
    """One account, through pauses and new attempts, to its result."""

    def __init__(
        self,
        mirror: "Mirror",
        account: "AccountRow",
        watch: Watch,
        interrupts: Interrupts,
        *,
        deadline: float | None,
        wait: float,
    ) -> None:
        self._interrupts = interrupts
        self._mirror = mirror
        self._account = account
        self._watch = watch
        self._deadline = deadline
        self._began = time.monotonic()
        self._wait_until = self._began + wait
        self._waited_for: str | None = None
        self._failures = 0
        self._paused = 0.0
        self._totals: list[Totals | None] = []
        self._requests_before = mirror.requests

    def result(self) -> Result:
        """Run to quiescence, or to what keeps it from that."""
        self._watch.begin(f"Account {self._account.id}")
        while True:
            if self._over():
                return self._end("partial", output.PROBLEMS, "Stopped, as --max-time asks; run it again to go on.")
            try:
                quiet = self._attempt()
            except MailmirrorError as error:
                pause = self._pause(error)
                if pause is None:
                    return self._failed(error)
                self._sleep(pause, error)
            else:
                if quiet:
                    return self._end("done", output.DONE, None)

    def _attempt(self) -> bool:
        self._totals.append(None)
        with self._interrupts.running():
            report = self._mirror.sync(self._account.id, stop=self._over, observe=self._observe)
        self._interrupts.check()
        return report.quiet

    def _observe(self, totals: "Totals") -> None:
        """Take note of a commit that is done."""
        self._totals[-1] = totals
        self._interrupts.check()
        if totals.read >= PROGRESS or totals.walks:
            self._failures, self._paused = 0, 0.0
        read = sum(t.read for t in self._totals if t is not None)
        back = f"back to {output.day(totals.complete_back_to)}, " if totals.complete_back_to else ""
        self._watch.show(
            f"{back}{output.counted(read, 'message')} ({output.rate(read, self._elapsed)}), "
            f"{output.counted(sum(t.commits for t in self._totals if t is not None), 'commit')}, "
            f"{output.counted(totals.open_windows, 'window')} open"
        )

    def _pause(self, error: MailmirrorError) -> float | None:
        """Seconds until the next attempt; None when the error ends it."""
        if isinstance(error, LeaseHeldError):
            from worker.bootstrap import owners  # loads the database layer

            # Ours is one that could not be given back while Postgres was away.
            patient = error.owner == owners.this_process() or time.monotonic() < self._wait_until
            return min(error.seconds + 0.1, 5.0) if patient else None
        if isinstance(error, ThrottledError) and error.retry_after is not None:
            asked = max(error.retry_after, SHORTEST_PAUSE)
            self._paused += asked
            return asked if self._paused <= LONGEST_PAUSE else None
        if isinstance(error, RetryLaterError) and self._failures < len(PAUSES):
            self._failures += 1
            return PAUSES[self._failures - 1]
        return None

    def _sleep(self, seconds: float, error: MailmirrorError) -> None:
        if not isinstance(error, LeaseHeldError):
            self._watch.remark(f"{error} Going on in {output.duration(seconds)}.")
        elif error.owner != self._waited_for:
            self._waited_for = error.owner
            self._watch.remark(f"{error} Waiting for it.")
        until = time.monotonic() + seconds
        if self._deadline is not None:
            until = min(until, self._deadline)
        self._mirror.clock.sleep(max(0.0, until - time.monotonic()))

    def _failed(self, error: MailmirrorError) -> Result:
        reason = output.advised(error, self._account.id)
        if isinstance(error, ThrottledError) and error.retry_after is not None:
            later = f"It asks for {output.duration(error.retry_after)} more; run it again after that."
            return self._end("partial", output.PROBLEMS, f"{error} {later}")
        return self._end("failed", output.USAGE if isinstance(error, UsageError) else output.FAILED, reason)

    def _end(self, outcome: Literal["done", "partial", "failed"], code: int, reason: str | None) -> Result:
        seconds = self._elapsed
        standing = self._standing() if outcome != "failed" else None
        if standing is not None and standing.problems and code == output.DONE:
            code = output.PROBLEMS
        totals = [t for t in self._totals if t is not None]
        return Result(
            account=self._account.id,
            label=self._account.label,
            outcome=outcome,
            code=code,
            reason=reason,
            counts={name: sum(getattr(t, name) for t in totals) for name in COUNTS},
            requests=self._mirror.requests - self._requests_before,
            seconds=seconds,
            problems=standing.problems if standing is not None else 0,
            complete=standing.complete if standing is not None else False,
        )

    def _standing(self) -> "AccountStatus | None":
        from worker.bootstrap import status  # loads the database layer

        return status.one(self._mirror.engine, self._account.id, count_messages=False)

    def _over(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._began


def _sentence(result: Result) -> str:
    count = result.counts
    back = f", {count['revived']:,} came back" if count["revived"] else ""
    pace = f" ({output.rate(result.read, result.seconds).replace('/s', ' messages/s')})" if result.read else ""
    work = (
        f"{count['added']:,} added, {count['updated']:,} updated, {count['tombstoned']:,} deleted, "
        f"{count['unchanged']:,} unchanged{back}; {output.counted(result.requests, 'request')} "
        f"in {output.duration(result.seconds)}{pace}."
    )
    if result.reason is not None:
        how = result.reason
    elif result.problems:
        see = f"See: mailmirror problems list {result.account}"
        how = f"Complete except {output.counted(result.problems, 'problem')}. {see}"
    else:
        how = "Complete."
    return f"Account {result.label}: {work} {how}"


def _named(result: Result, *, several: bool) -> str:
    return f"Account {result.label}: {result.reason}" if several else result.reason or ""


def _shown(result: Result) -> dict[str, object]:
    names = ("account", "outcome", "reason", "requests", "problems", "complete")
    facts = {name: getattr(result, name) for name in names}
    counts = {"deleted" if name == "tombstoned" else name: value for name, value in result.counts.items()}
    return {**facts, **counts, "seconds": round(result.seconds, 3)}
