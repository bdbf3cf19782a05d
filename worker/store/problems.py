"""The failure ledger for people: list, show, try again."""

from datetime import datetime
from typing import Literal

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.engine import Connection, Engine

from worker.errors import UsageError
from worker.store.engine import retry_transaction, translated

Kind = Literal["pending", "message", "event", "page", "held_delete", "account"]


class ProblemRow(Struct, frozen=True, kw_only=True):
    """One row of `sync.problems`."""

    id: int
    account_id: int
    kind: Kind
    subject: str
    cause: str
    raw: bytes | None
    """What the upstream sent; only `show` reads it."""
    raw_size: int | None
    attempts: int
    first_seen_at: datetime
    last_seen_at: datetime
    not_before: datetime | None
    state: Literal["open", "closed"]
    closed_at: datetime | None

    def excerpt(self, limit: int = 2000) -> str:
        """The first `limit` bytes of what was sent, harmless on any terminal; "" when nothing was kept."""
        return escaped(self.raw or b"", limit)


def escaped(raw: bytes, limit: int) -> str:
    """Bytes as text in which control characters and what is not UTF-8 stand escaped; cut at `limit` bytes."""
    text = raw[:limit].decode("utf-8", "backslashreplace")
    shown = "".join(char if char.isprintable() or char == "\n" else f"\\u{ord(char):04x}" for char in text)
    return f"{shown}… ({len(raw)} bytes)" if len(raw) > limit else shown


LIST = sa.text(
    """
    SELECT id, account_id, kind, subject, cause, CAST(NULL AS bytea) AS raw, octet_length(bytes) AS raw_size,
        attempts, first_seen_at, last_seen_at, not_before, state, closed_at
    FROM sync.problems
    WHERE (CAST(:account_id AS bigint) IS NULL OR account_id = :account_id)
        AND (CAST(:kind AS text) IS NULL OR kind = :kind)
        AND (state = 'open' OR :closed)
    ORDER BY last_seen_at DESC, id DESC
    LIMIT :limit
    """
)

SHOW = sa.text(
    """
    SELECT id, account_id, kind, subject, cause, bytes AS raw, octet_length(bytes) AS raw_size,
        attempts, first_seen_at, last_seen_at, not_before, state, closed_at
    FROM sync.problems
    WHERE id = :id
    """
)

# A held deletion waits for a word, not for time: it is left out. A message problem without a time has no id that could
# be asked for: it is for the next walk alone.
DUE_NOW = sa.text(
    """
    UPDATE sync.problems
    SET not_before = CASE WHEN window_after IS NULL THEN sync.now() END
    WHERE state = 'open' AND kind <> 'held_delete'
        AND (CAST(:id AS bigint) IS NULL OR id = :id)
        AND (CAST(:account_id AS bigint) IS NULL OR account_id = :account_id)
    RETURNING id, account_id
    """
)

WALK_AGAIN = sa.text(
    """
    UPDATE sync.windows AS w SET next_walk_at = sync.now()
    FROM sync.problems AS p
    WHERE p.id = ANY (:problems) AND p.window_after IS NOT NULL
        AND w.account_id = p.account_id AND w.state <> 'open'
        AND tstzrange(w.after, w.before) && tstzrange(p.window_after, p.window_before)
    """
)

POLL_NOW = sa.text(
    "UPDATE sync.accounts SET next_due_at = least(next_due_at, sync.now()),"
    " backfill_due_at = least(backfill_due_at, sync.now()) WHERE id = ANY (:accounts)"
)


def listed(
    engine: Engine,
    account_id: int | None = None,
    *,
    kind: Kind | None = None,
    closed: bool = False,
    limit: int = 100,
) -> list[ProblemRow]:
    """Read open problems, the latest first, without their bytes; `closed` adds those put right."""
    with translated(), engine.connect() as connection:
        parameters = {"account_id": account_id, "kind": kind, "closed": closed, "limit": limit}
        return [ProblemRow(**row) for row in connection.execute(LIST, parameters).mappings()]


def show(engine: Engine, problem_id: int) -> ProblemRow:
    """Read one problem with its bytes; raises UsageError when there is none."""
    with translated(), engine.connect() as connection:
        row = connection.execute(SHOW, {"id": problem_id}).mappings().one_or_none()
    if row is None:
        raise UsageError(f"There is no problem {problem_id}. See: mailmirror problems list")
    return ProblemRow(**row)


def held_ids(engine: Engine, account_id: int) -> tuple[str, ...]:
    """Ids of the messages whose deletion waits for a person, in the order in which they were held."""
    statement = sa.text(
        "SELECT subject FROM sync.problems"
        " WHERE account_id = :id AND kind = 'held_delete' AND state = 'open' ORDER BY id"
    )
    with translated(), engine.connect() as connection:
        return tuple(connection.execute(statement, {"id": account_id}).scalars())


def retry(engine: Engine, *, problem_id: int | None = None, account_id: int | None = None) -> int:
    """Make open problems due now: one, those of an account, or all; returns how many.

    Where a page or a message without a usable id cannot be read, its window is walked again. Deletions that are held
    wait for `accounts confirm-deletes`.
    """

    def work(connection: Connection) -> int:
        rows = connection.execute(DUE_NOW, {"id": problem_id, "account_id": account_id}).all()
        accounts = sorted({row.account_id for row in rows})
        connection.execute(WALK_AGAIN, {"problems": [row.id for row in rows]})
        if accounts:
            connection.execute(POLL_NOW, {"accounts": accounts})
        return len(rows)

    if problem_id is not None:
        show(engine, problem_id)
    return retry_transaction(engine, work)
