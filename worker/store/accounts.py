"""Accounts: adding, finding, pausing and removing them. Leases are in `worker.store.leases`.

Whatever a person does to an account also raises `lease_epoch` where work must stop: a worker in the middle of a run
finds its fence overtaken at its next commit, and nothing of that commit is written.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection, Engine, RowMapping

from models import (
    Account,
    Attachment,
    Credential,
    Cursor,
    Erasure,
    Folder,
    Label,
    Message,
    MessageFolderPast,
    MessageLabel,
    MessageLabelPast,
    MessagePerson,
    Person,
    Problem,
    Window,
)
from models.base import Base
from worker.errors import UsageError
from worker.records import Status
from worker.store import credentials, feed
from worker.store.credentials import KeyRing
from worker.store.engine import NOW, XACT, retry_transaction, translated


class AccountRow(Struct, frozen=True, kw_only=True):
    """One row of `sync.accounts`."""

    id: int
    tenant_id: str
    kind: str
    service: str | None
    upstream_id: str
    address: str | None
    status: Status
    status_reason: str | None
    settings: dict[str, Any]
    created_at: datetime
    polled_at: datetime | None
    next_due_at: datetime
    backfill_due_at: datetime | None
    lease_owner: str | None
    lease_until: datetime | None
    lease_epoch: int
    failures: int
    poll_seconds: float | None

    @property
    def label(self) -> str:
        """What people call it: the number, and the address where there is one."""
        return f"{self.id} ({self.address})" if self.address else str(self.id)

    @property
    def to_do(self) -> str | None:
        """What a person must do about its status; None where there is nothing to say."""
        return to_do(self.id, self.status, self.status_reason)


COLUMNS = tuple(getattr(Account, name) for name in AccountRow.__struct_fields__)

AT_WORK_AGAIN: dict[str, Any] = {
    "status": "active",
    "status_reason": None,
    "next_due_at": NOW,
    "backfill_due_at": NOW,
    "queued_until": None,
    "backfill_queued_until": None,
}

FENCED_OFF: dict[str, Any] = {
    "lease_epoch": Account.lease_epoch + 1,
    "lease_owner": None,
    "lease_until": None,
    "queued_until": None,
    "backfill_queued_until": None,
}
"""Ends whatever run is at work: its next commit changes nothing."""

REMOVED = "Removed by a person."
"""Reason of an account whose token and positions were forgotten."""

FORGOTTEN: tuple[type[Base], ...] = (Credential, Cursor, Window, Problem)
"""What a removed account loses in any case."""

PURGED: tuple[type[Base], ...] = (
    MessagePerson,
    MessageLabel,
    MessageLabelPast,
    MessageFolderPast,
    Attachment,
    Message,
    Person,
    Label,
    Folder,
)
"""Tables of schema mail, in the order in which a purged account's rows leave them."""

TO_DO: dict[Status, str] = {
    "backing_off": "It is tried again by itself.",
    "degraded": "Nothing needs to be done: changes are asked for again once a day.",
    "auth_required": "Put that right upstream, then: mailmirror accounts resume {id}. "
    "Or give it a new token: mailmirror accounts token {id} --token-stdin",
    "gone": "Remove it here, too: mailmirror accounts remove {id}. "
    "If it is there again: mailmirror accounts resume {id}",
    "paused": "Start it again: mailmirror accounts resume {id}",
}
TO_DO_REMOVED = "To mirror it again, give it a token: mailmirror accounts token {id} --token-stdin"

PURGE_STEP = 10_000
"""Rows per transaction of a purge."""

PURGE_BEGUN = sa.select(Erasure.kind).where(Erasure.account_id == sa.bindparam("account_id"), Erasure.kind == "account")
"""Whether an account is being deleted with its mail: what is left of it is no mirror any more."""

LARGEST_ID = (1 << 63) - 1


def to_do(account_id: int, status: Status, reason: str | None) -> str | None:
    """What a person must do about an account in this status; None for an active one, and where the reason says it."""
    if status == "backing_off" and reason and re.search(r"[.:] \S", reason):
        return None
    words = TO_DO_REMOVED if reason == REMOVED else TO_DO.get(status)
    return words.format(id=account_id) if words else None


def account_of(row: Mapping[str, Any] | RowMapping) -> AccountRow:
    """Read a row that holds `COLUMNS`."""
    return AccountRow(**{name: row[name] for name in AccountRow.__struct_fields__})


def add(
    engine: Engine,
    *,
    kind: str,
    upstream_id: str,
    service: str | None = None,
    address: str | None = None,
    tenant_id: str = "default",
    settings: Mapping[str, Any] | None = None,
    token: str | None = None,
    keys: KeyRing | None = None,
) -> AccountRow:
    """Add an account, with its token where it has one, or nothing; it is due at once.

    Raises UsageError naming the account that is this mailbox already, or saying what is wrong with token or keys.
    """
    statement = (
        insert(Account)
        .values(
            kind=kind,
            upstream_id=upstream_id,
            service=service,
            address=address,
            tenant_id=tenant_id,
            settings=dict(settings or {}),
        )
        .on_conflict_do_nothing(index_elements=["tenant_id", "kind", "upstream_id"])
        .returning(*COLUMNS)
    )

    def work(connection: Connection) -> AccountRow:
        row = connection.execute(statement).mappings().one_or_none()
        if row is None:
            raise _already(connection, tenant_id, kind, upstream_id)
        account = account_of(row)
        if token is not None:
            credentials.store_token(connection, keys or KeyRing(), account.id, token)
        return account

    return retry_transaction(engine, work)


def get(engine: Engine, account_id: int) -> AccountRow:
    """Read one account; raises UsageError when there is none."""
    rows = _select(engine, Account.id == account_id) if 0 < account_id <= LARGEST_ID else []
    if not rows:
        raise unknown(account_id)
    return rows[0]


def find(engine: Engine, wanted: str) -> AccountRow:
    """Find an account by its number or its e-mail address, as a person types it.

    Raises UsageError when there is none, or when several accounts have the address.
    """
    text = wanted.strip()
    if text.isascii() and text.isdigit() and len(text) <= len(str(LARGEST_ID)):
        return get(engine, int(text))
    rows = _select(engine, sa.func.lower(Account.address) == sa.func.lower(text)) if text.isprintable() else []
    if not rows:
        raise unknown(text)
    if len(rows) > 1:
        numbers = ", ".join(str(row.id) for row in rows)
        raise UsageError(f"Several accounts have the address {text}: {numbers}. Name one by its number.")
    return rows[0]


def list_all(engine: Engine) -> list[AccountRow]:
    """Read all accounts in the order of their numbers."""
    return _select(engine, sa.true())


def pause(engine: Engine, account_id: int, reason: str = "Paused by a person.") -> None:
    """Stop mirroring the account; a run at work writes nothing more."""
    retry_transaction(
        engine, lambda connection: _change(connection, account_id, **FENCED_OFF, status="paused", status_reason=reason)
    )


def resume(engine: Engine, account_id: int) -> None:
    """Mirror the account again, from where it stopped, at once; raises UsageError for one that was removed."""
    if get(engine, account_id).status_reason == REMOVED:
        raise UsageError(
            f"Account {account_id} was removed, and its token forgotten. "
            f"Give it a token again: mailmirror accounts token {account_id} --token-stdin"
        )
    retry_transaction(engine, lambda connection: _change(connection, account_id, **AT_WORK_AGAIN))


def set_token(engine: Engine, account_id: int, token: str, keys: KeyRing) -> None:
    """Store a new token and mirror the account again, unless a person paused it."""

    def work(connection: Connection) -> None:
        lock = sa.select(Account.status).where(Account.id == account_id).with_for_update(key_share=True)
        status = connection.execute(lock).scalar_one_or_none()
        if status is None:
            raise unknown(account_id)
        if connection.execute(PURGE_BEGUN, {"account_id": account_id}).first():
            raise UsageError(
                f"Account {account_id} is being deleted with its mail. Finish that: "
                f"mailmirror accounts remove {account_id} --purge. Then add it anew."
            )
        credentials.store_token(connection, keys, account_id, token)
        if status != "paused":
            _change(connection, account_id, **AT_WORK_AGAIN)

    retry_transaction(engine, work)


def remove(engine: Engine, account_id: int, *, purge: bool = False) -> None:
    """Stop mirroring for good and forget token and positions; the mail stays to be queried, unless `purge`.

    A purge deletes in steps, so that no lock is held for long. Cut short, it is finished by calling it again.
    Consumers of the change feed are told when it begins, and again when the last of it is gone.
    """

    def stop(connection: Connection) -> None:
        _change(connection, account_id, **FENCED_OFF, status="gone", status_reason=REMOVED)
        for table in FORGOTTEN:
            connection.execute(sa.delete(table).where(table.__table__.c.account_id == account_id))
        if purge:
            feed.note_erased(connection, account_id, "account", [str(account_id)])

    def finish(connection: Connection) -> None:
        feed.note_erased(connection, account_id, "account", [str(account_id)])
        connection.execute(sa.delete(Erasure).where(Erasure.account_id == account_id, Erasure.kind != "account"))
        connection.execute(sa.delete(Account).where(Account.id == account_id))

    retry_transaction(engine, stop)
    if not purge:
        return
    for table in PURGED:
        while _purge_step(engine, table, account_id):
            pass
    retry_transaction(engine, finish)


def unknown(wanted: object) -> UsageError:
    """The error for an account that does not exist."""
    return UsageError(f"There is no account {wanted}. See: mailmirror accounts list")


def _already(connection: Connection, tenant_id: str, kind: str, upstream_id: str) -> UsageError:
    number = connection.execute(
        sa.select(Account.id).where(
            Account.tenant_id == tenant_id, Account.kind == kind, Account.upstream_id == upstream_id
        )
    ).scalar_one_or_none()
    return UsageError(
        f"This mailbox is account {number} already. "
        f"A new token for it: mailmirror accounts token {number} --token-stdin. "
        f"To start it again: mailmirror accounts resume {number}"
    )


def _select(engine: Engine, condition: sa.ColumnElement[bool]) -> list[AccountRow]:
    with translated(), engine.connect() as connection:
        rows = connection.execute(sa.select(*COLUMNS).where(condition).order_by(Account.id)).mappings()
        return [account_of(row) for row in rows]


def _change(connection: Connection, account_id: int, **changes: object) -> None:
    statement = sa.update(Account).where(Account.id == account_id).values(changed_in=XACT, **changes)
    if connection.execute(statement).rowcount == 0:
        raise unknown(account_id)


def _purge_step(engine: Engine, table: type[Base], account_id: int) -> int:
    """Delete some of the account's rows; returns how many."""
    place: sa.ColumnElement[Any] = sa.literal_column("ctid")
    mine = table.__table__.c.account_id == account_id
    some = sa.select(place).select_from(table).where(mine).limit(PURGE_STEP)
    statement = sa.delete(table).where(place == sa.func.any(sa.func.array(some.scalar_subquery())))
    return retry_transaction(engine, lambda connection: connection.execute(statement).rowcount)
