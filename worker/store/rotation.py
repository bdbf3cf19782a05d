"""Changing the key that tokens are sealed with, and which key seals which tokens.

Needs no lease: `sync.credentials` is no mail, and every row is compared before it is replaced, so a token that is set
meanwhile wins. Each batch is a commit of its own; what a kill leaves undone the next call does.
"""

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.engine import Engine

from worker.errors import UsageError
from worker.store.credentials import KeyRing, Sealed
from worker.store.engine import retry_transaction, translated

BATCH = 500
PASSES = 5
"""Tokens may be set under another key while we are at it; who still does that after so many looks is left to say so."""


class Unopened(Struct, frozen=True):
    """A token that none of our keys opens."""

    account_id: int
    purpose: str
    key_id: str


class Rotated(Struct, frozen=True):
    """What a rotation did; tokens are counted, one per account and purpose."""

    resealed: int
    right: int
    """Sealed with the first key already, and opened by it."""
    unopened: tuple[Unopened, ...]
    overtaken: int
    """Set by somebody else under another key again and again while we were at it."""


class KeyUse(Struct, frozen=True):
    """How many tokens a key seals, in the ring or not."""

    key_id: str
    in_ring: bool
    seals: bool
    """Whether it is the ring's first key, which seals what is written."""
    tokens: int
    accounts: int


def key_uses(engine: Engine, keys: KeyRing) -> list[KeyUse]:
    """Say what each key of the ring is used for, in the ring's order; then those in use that the ring lacks."""
    with translated(), engine.connect() as connection:
        used = {row[0]: (row[1], row[2]) for row in connection.execute(USES)}
    names = [*keys.names, *sorted(used.keys() - set(keys.names))]
    first = keys.names[:1]
    return [KeyUse(name, name in keys.names, name in first, *used.get(name, (0, 0))) for name in names]


def missing_keys(engine: Engine, keys: KeyRing) -> list[str]:
    """One sentence for each key that tokens are sealed with and the ring lacks, or that there is no key file."""
    uses = key_uses(engine, keys)
    if keys.absent and uses:
        return [keys.absent]
    return [
        f"The key {use.key_id} is not in the key ring: {use.accounts:,} "
        f"{'account' if use.accounts == 1 else 'accounts'} cannot be mirrored. Add it to MAILMIRROR_KEYRING, or set "
        "the tokens again."
        for use in uses
        if not use.in_ring
    ]


def rotate(
    engine: Engine,
    keys: KeyRing,
    *,
    dry_run: bool = False,
    batch: int = BATCH,
    observe: Callable[[int], None] = lambda _resealed: None,
) -> Rotated:
    """Seal every token anew that is not sealed with the ring's first key; `dry_run` opens all and writes nothing.

    `observe` hears after each batch how many were re-sealed so far. Raises UsageError for an empty ring.
    """
    if not keys.names:
        raise UsageError("There is no key to seal tokens with. Set MAILMIRROR_KEYRING.")
    first = keys.names[0]
    resealed = right = overtaken = 0
    unopened: dict[tuple[int, str], Unopened] = {}
    for number in range(PASSES):
        overtaken = 0
        place: tuple[int, str] = (0, "")
        while rows := _read(engine, place, batch, other_than=first if number else None):
            place = (rows[-1].account_id, rows[-1].purpose)
            stale = []
            for row in rows:
                opened = _open(keys, row)
                if opened is None:
                    unopened[row.account_id, row.purpose] = Unopened(row.account_id, row.purpose, row.key_id)
                elif row.key_id == first:
                    right += 1
                else:
                    stale.append((row, keys.seal(row.account_id, row.purpose, opened)))
            written = len(stale) if dry_run else _write(engine, stale)
            resealed += written
            overtaken += len(stale) - written
            observe(resealed)
        if not overtaken:
            break
    return Rotated(resealed, right, tuple(unopened.values()), overtaken)


def _read(engine: Engine, place: tuple[int, str], batch: int, *, other_than: str | None) -> Sequence[Any]:
    with translated(), engine.connect() as connection:
        known = {"id": place[0], "purpose": place[1], "batch": batch, "key_id": other_than}
        return connection.execute(NEXT, known).all()


def _open(keys: KeyRing, row: Any) -> str | None:
    """The token, or None: the caller names the account, and the account's own runs say what is wrong."""
    try:
        return keys.open(row.account_id, row.purpose, Sealed(row.key_id, row.nonce, row.ciphertext))
    except UsageError:
        return None


def _write(engine: Engine, stale: Sequence[tuple[Any, Sealed]]) -> int:
    """Replace the tokens that are still as they were read; returns how many."""
    if not stale:
        return 0
    parameters = {
        "ids": [old.account_id for old, _ in stale],
        "purposes": [old.purpose for old, _ in stale],
        "was": [old.nonce for old, _ in stale],
        "was_sealed": [old.ciphertext for old, _ in stale],
        "key_ids": [new.key_id for _, new in stale],
        "nonces": [new.nonce for _, new in stale],
        "sealed": [new.ciphertext for _, new in stale],
    }
    return retry_transaction(engine, lambda connection: connection.execute(RESEAL, parameters).rowcount)


USES = sa.text("SELECT key_id, count(*), count(DISTINCT account_id) FROM sync.credentials GROUP BY key_id")

NEXT = sa.text(
    """
    SELECT account_id, purpose, key_id, nonce, ciphertext FROM sync.credentials
    WHERE (account_id, purpose) > (:id, :purpose) AND key_id IS DISTINCT FROM CAST(:key_id AS text)
    ORDER BY account_id, purpose
    LIMIT :batch
    """
)

# Compared by nonce and ciphertext: a token that was set meanwhile has others, whatever its key is called.
RESEAL = sa.text(
    """
    UPDATE sync.credentials AS mine
    SET key_id = new.key_id, nonce = new.nonce, ciphertext = new.sealed, changed_at = sync.now()
    FROM unnest(
        CAST(:ids AS bigint[]), CAST(:purposes AS text[]), CAST(:was AS bytea[]), CAST(:was_sealed AS bytea[]),
        CAST(:key_ids AS text[]), CAST(:nonces AS bytea[]), CAST(:sealed AS bytea[])
    ) AS new (account_id, purpose, was, was_sealed, key_id, nonce, sealed)
    WHERE mine.account_id = new.account_id AND mine.purpose = new.purpose
        AND mine.nonce = new.was AND mine.ciphertext = new.was_sealed
    """
)
