"""The promises that must hold at every commit, at every crash and at the end (faults.md A2).

I1   at rest, after a last full look: mirror and mailbox are the same, field by field (`tests.truth`)
I2   the cursor never runs ahead: whatever the mirror holds otherwise than the mailbox is still to be told by an event
     after the stored cursor (in the true log), or lies in a window that is open or due, or stands in an open problem,
     or in the span of one. Excused is what the upstream itself has told wrongly or kept back, message by message; and
     everything once the stream was not read to its end for so long that the next reading walks all windows anyway.
     An account without activity has no cursor to run ahead.
I3   cursor and lease epoch never go back, except for a cursor together with "walk everything"
I4   what was committed stays, live or as a tombstone; each message that came with a batch is there
I12  a message becomes a tombstone only after the API said "not found" to a GET for it and while it is truly gone;
     a tombstone revives only by a GET
I13  no transaction is open while the upstream is asked (see `ports`)
P9   a commit that has something to write goes through only under the newest lease
"""

from collections.abc import Collection
from datetime import datetime

from tests import truth
from tests.faults.simulation.baton import Baton
from tests.faults.simulation.postgres import Postgres, RowSeen, Stand
from tests.faults.simulation.upstream import Upstream
from worker.config import Settings
from worker.records import Batch
from worker.sources import _decode
from worker.store.rows import Projection, row
from worker.sync.limits import SAFE_AGE

SHOWN = 5


class Invariants:
    """Compares what stands in Postgres with what is true upstream."""

    def __init__(self, baton: Baton, upstream: Upstream, postgres: Postgres) -> None:
        self._baton = baton
        self._upstream = upstream
        self._postgres = postgres
        self._projection = Projection.of(Settings())
        self._digests: dict[tuple[int, int], bytes] = {}
        self._last: Stand | None = None
        self.checks = 0

    def committed(self, epoch: int, batch: Batch, *, failed: bool = False) -> None:
        """Check what a commit has left behind; one that failed may have been carried out all the same, or not."""
        stand, last = self._stand()
        if not failed and not batch.is_bare and stand.epoch != epoch:
            self._wrong(f"P9: a worker with lease {epoch} committed, but lease {stand.epoch} is the newest")
        came = {m.id for m in batch.listed} | {f.message.id for f in batch.fetched} | {g.message_id for g in batch.gone}
        lost = [] if failed else sorted(came - stand.rows.keys())
        if lost:
            self._wrong(f"I4: committed, and not there: {lost[:SHOWN]}")
        if _number(stand) < _number(last) and not batch.ledger.walk_all:
            self._wrong(f"I3: the cursor went back from {last.cursor} to {stand.cursor}")
        self._check_deletions(last.rows, stand.rows, {f.message.id for f in batch.fetched})
        self._check_always(stand, last)

    def unchanged(self, what: str) -> None:
        """Check that nothing of what was under way has been written."""
        stand, last = self._stand()
        if (stand.rows, stand.cursor, _tiles(stand)) != (last.rows, last.cursor, _tiles(last)):
            self._wrong(f"I14: half of a commit was written: {what}")
        self._check_always(stand, last)

    def at_the_end(self) -> None:
        """Check that mirror and mailbox are the same, and that nothing is left to say."""
        self._check_always(*self._stand())
        head, shown = self._upstream.truth()
        connection = self._postgres.connection
        account = self._postgres.rows("select id from sync.accounts")[0][0]
        with connection.transaction(force_rollback=True):
            report = truth._Comparison(connection, account, "full", truth.MAX_BODY).run(head, iter(shown))
        if not report.equal or report.open_problems or report.open_windows:
            self._wrong(f"I1: {report}\nopen windows: {report.open_windows}")

    def _stand(self) -> tuple[Stand, Stand]:
        """What stands there now, and what stood there before."""
        self.checks += 1
        self._postgres.tell(self._baton.time)
        stand = self._postgres.stand()
        assert stand is not None
        last = self._last or stand
        self._last = stand
        return stand, last

    def _check_always(self, stand: Stand, last: Stand) -> None:
        if stand.epoch < last.epoch:
            self._wrong(f"I3: the lease epoch went back from {last.epoch} to {stand.epoch}")
        vanished = last.rows.keys() - stand.rows.keys()
        if vanished:
            self._wrong(f"I4: rows vanished: {sorted(vanished)[:SHOWN]}")
        self._check_cursor(stand)

    def _check_deletions(self, before: dict[str, RowSeen], now: dict[str, RowSeen], fetched: Collection[str]) -> None:
        for id_, seen in now.items():
            was = before.get(id_)
            if seen.dead and (was is None or not was.dead):
                if self._upstream.is_live(id_):
                    self._wrong(f"I12: {id_} became a tombstone, but the upstream has it")
                if id_ not in self._upstream.missed:
                    self._wrong(f"I12: {id_} became a tombstone, but no GET was answered with not found")
            elif was is not None and was.dead and not seen.dead and id_ not in fetched:
                self._wrong(f"I12: {id_} was revived without a GET")

    def _check_cursor(self, stand: Stand) -> None:
        """I2."""
        wrong = self._differences(stand)
        if stand.cursor is None or not stand.supported or stand.age > SAFE_AGE:
            return
        told = self._upstream.changed_after(stand.cursor)
        excused = told | self._upstream.misled.keys() | {subject for _, subject, _, _ in stand.problems}
        spans = [(after, before) for after, before, due in stand.windows if due]
        spans += [(after, before) for _, _, after, before in stand.problems if after is not None]
        bad = [
            f"{id_} of {created}: {how}"
            for id_, how, created in wrong
            if id_ not in excused and not any(_within(created, span) for span in spans)
        ]
        if bad:
            listed = "\n  ".join(bad[:SHOWN])
            self._wrong(f"I2: nothing is left to tell of these, at cursor {stand.cursor}:\n  {listed}")

    def _differences(self, stand: Stand) -> list[tuple[str, str, datetime | None]]:
        """What mirror and mailbox do not agree on; what they do agree on is no lie of the upstream any more."""
        misled = self._upstream.misled
        found: list[tuple[str, str, datetime | None]] = []
        live = self._upstream.live()
        for id_, version in live.items():
            seen = stand.rows.get(id_)
            if seen is not None and not seen.dead and seen.digest == self._digest(id_, version):
                misled.pop(id_, None)
                continue
            how = "missing" if seen is None else "a tombstone" if seen.dead else "stale"
            found.append((id_, how, self._upstream.created(version[0])))
        for id_, seen in stand.rows.items():
            if id_ in live:
                continue
            if seen.dead:
                misled.pop(id_, None)
            else:
                found.append((id_, "extra", seen.created))
        return found

    def _digest(self, id_: str, version: tuple[int, int]) -> bytes:
        known = self._digests.get(version)
        if known is None:
            message = _decode.message(self._upstream.shown(version[0]), id_, keep_raw=False)
            known = self._digests[version] = row(message, self._projection).digest
        return known

    def _wrong(self, words: str) -> None:
        self._baton.violated(words)


def _number(stand: Stand) -> int:
    return int(stand.cursor) if stand.cursor is not None else 0


def _tiles(stand: Stand) -> list[tuple[datetime, datetime | None]]:
    return sorted((after, before) for after, before, _ in stand.windows)


def _within(created: datetime | None, span: tuple[datetime, datetime | None]) -> bool:
    after, before = span
    return created is not None and after <= created and (before is None or created < before)
