"""Compares messages as the upstream shows them with the rows, field by field; writes nothing, believes no digest."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Engine

from worker.records import Difference, Message
from worker.store import postgres
from worker.store.rows import MESSAGE_COLUMNS, Projection, key, message_columns, people, row

HINTS = frozenset({"account_id", "message_id", "digest", "rfc822_file_id", "raw"})
"""Columns that are no part of what is compared: keys, and what was last seen of things that change at every read."""

FIELDS = tuple(name for name in MESSAGE_COLUMNS if name not in HINTS)

MESSAGES = f"""
select message_id, {", ".join(FIELDS)} from mail.messages
where account_id = %b and message_id = any(%b::text[]) and deleted_at is null
"""  # noqa: S608  # names of our own columns
PEOPLE = """
select message_id, role, position, address, email, name from mail.message_people
where account_id = %b and message_id = any(%b::text[])
"""
LABELS = """
select m.message_id, m.label_id, l.name from mail.message_labels m
left join mail.labels l using (account_id, label_id)
where m.account_id = %b and m.message_id = any(%b::text[])
"""
ATTACHMENTS = """
select message_id, position, name, mime_type, size from mail.attachments
where account_id = %b and message_id = any(%b::text[])
"""
EXCUSED = """
select subject from sync.problems where account_id = %b and state = 'open' and subject = any(%b::text[])
"""


class PostgresJudge:
    """The `Judge` of one account."""

    def __init__(self, engine: Engine, account_id: int, projection: Projection) -> None:
        self._engine = engine
        self._account_id = account_id
        self._projection = projection

    def differences(self, messages: Sequence[Message]) -> tuple[Difference, ...]:
        """Which of these messages the mirror lacks or holds otherwise; `fields` names what differs."""
        ids = list({m.id for m in messages})
        rows = {r[0]: dict(zip(FIELDS, r[1:], strict=True)) for r in self._read(MESSAGES, ids)}
        people_of = _grouped(self._read(PEOPLE, ids))
        labels_of = _grouped(self._read(LABELS, ids))
        files_of = _grouped(self._read(ATTACHMENTS, ids))
        found = []
        for message in {m.id: m for m in messages}.values():
            held = rows.get(message.id)
            if held is None:
                found.append(Difference(message.id, "missing"))
                continue
            fields = self._differing(message, held)
            wanted = {(p.role, p.position, p.address, p.email, p.name) for p in people(message)}
            if people_of.get(message.id, set()) != wanted:
                fields.append("people")
            if not _same_labels(message, labels_of.get(message.id, set())):
                fields.append("labels")
            files = {(place, f.name, f.mime_type, f.size) for place, f in enumerate(message.attachments)}
            if files_of.get(message.id, set()) != files:
                fields.append("attachments")
            if fields:
                found.append(Difference(message.id, "stale", tuple(fields)))
        return tuple(found)

    def live_ids(self, after: datetime, before: datetime) -> set[str]:
        """See `ports.Judge`."""
        return postgres.live_ids(self._engine, self._account_id, after, before)

    def excused(self, ids: Collection[str]) -> set[str]:
        """See `ports.Judge`."""
        return {r[0] for r in self._read(EXCUSED, list(ids))}

    def _differing(self, message: Message, held: Mapping[str, Any]) -> list[str]:
        wanted = message_columns(self._account_id, row(message, self._projection), self._projection)
        values = dict(zip(MESSAGE_COLUMNS, wanted, strict=True))
        return [name for name in FIELDS if held[name] != values[name]]

    def _read(self, statement: str, ids: list[str]) -> list[tuple[Any, ...]]:
        return postgres.rows(self._engine, statement, (self._account_id, ids))


def _same_labels(message: Message, held: set[tuple[Any, ...]]) -> bool:
    """A label's name is compared where the message carries one."""
    names = dict(held)
    wanted = {key(label.id): label.name for label in message.labels}
    return names.keys() == wanted.keys() and all(n is None or n == names[i] for i, n in wanted.items())


def _grouped(found: list[tuple[Any, ...]]) -> dict[str, set[tuple[Any, ...]]]:
    groups: dict[str, set[tuple[Any, ...]]] = {}
    for first, *rest in found:
        groups.setdefault(first, set()).add(tuple(rest))
    return groups
