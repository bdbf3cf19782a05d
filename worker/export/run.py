"""One export: a snapshot of some accounts into a folder that is there only when it is whole."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from worker.errors import UsageError
from worker.export import formats
from worker.export.folder import whole
from worker.export.manifest import AccountEntry, Feed, Manifest
from worker.export.partitions import Limits, Partitions
from worker.store import export as store
from worker.store.engine import Engine
from worker.store.export import Snapshot


class Progress(Struct, frozen=True):
    """How far an export is."""

    account: int
    """Number of the account in work, from 1."""
    accounts: int
    messages: int
    """Messages written."""


def export(
    engine: Engine,
    accounts: Sequence[int],
    format_: str,
    to: Path,
    *,
    observe: Callable[[Progress], None] = lambda _: None,
    interruptible: Callable[[Callable[[], None]], None] = lambda _: None,
    remark: Callable[[str], None] = lambda _: None,
    limits: Limits = Limits(),  # noqa: B008  # frozen
    piece: int = store.BYTES,
) -> Manifest:
    """Write these accounts, as they stand at one moment, into the new folder `to`.

    `observe` is called after every piece and may end it all by raising; `interruptible` is given a function that lets
    the statement under way fail, for another thread. `limits` say when a file is full, `piece` how many bytes of mail
    are held in memory. Raises UsageError for what cannot be done as asked, StoreUnavailableError when Postgres goes
    away, MailmirrorError when the disk is full; in each case, and when it is interrupted, `to` is as it was.
    """
    form = formats.named(format_)
    with whole(to, remark) as folder, store.snapshot(engine) as snapshot:
        found = snapshot.accounts(accounts)
        if missing := set(accounts) - {row[0] for row in found}:
            raise UsageError(f"There is no account {min(missing)}. See: mailmirror accounts list")
        interruptible(snapshot.cancel)
        parts = Partitions(folder, form, snapshot, limits)
        try:
            parts.write(store.ACCOUNTS, "", found)
            for number, account in enumerate(found, 1):
                for messages in _messages(snapshot, parts, account[0], piece):
                    observe(Progress(number, len(found), messages))
                for table in store.OF_ACCOUNTS:
                    for rows in snapshot.of_account(table, account[0]):
                        parts.write(table, f"account_id={account[0]}", rows)
                        observe(Progress(number, len(found), parts.rows[store.MESSAGES.name]))
            tables = parts.finish()
        except BaseException:
            parts.drop()
            raise
        address = [column.name for column in store.ACCOUNTS.columns].index("address")
        manifest = Manifest(
            format=format_,
            snapshot_at=snapshot.at,
            schema_revision=snapshot.revision,
            accounts=tuple(AccountEntry(row[0], row[address]) for row in found),
            feed=Feed(position=snapshot.position, horizon=snapshot.horizon),
            notes=form.notes,
            tables=tables,
        )
        manifest.write(folder)
    return manifest


def _messages(snapshot: Snapshot, parts: Partitions, account_id: int, piece: int) -> Iterator[int]:
    """Write an account's messages with what hangs on them; gives the number of messages written at all."""
    for month, ids in snapshot.pieces(account_id, size=piece):
        for table in store.OF_MESSAGES:
            for rows in snapshot.of_messages(table, account_id, ids):
                parts.write(table, f"account_id={account_id}/month={month}", rows)
        yield parts.rows[store.MESSAGES.name]
