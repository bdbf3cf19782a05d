"""Rows that many messages share: people, labels and folders.

What is known of them is kept for the length of one lease: while the fence holds nobody else writes them, so what was
read or written once need not be asked for again. A rolled-back transaction clears it.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import psycopg

from worker.records import Folder, Message
from worker.store import sql
from worker.store.rows import NAMELESS, PersonRow, Row, key, name_key

Cursor = psycopg.Cursor[Any]
Name = tuple[tuple[datetime, str], str]
"""How new a name is, and the name."""

LABELS = {"table": "labels", "key": "label_id"}
FOLDERS = {"table": "folders", "key": "folder_id"}

MOST = 200_000
"""Entries after which what is known is forgotten, to bound memory."""


class Shared:
    """What this lease knows of one account's people, labels and folders."""

    def __init__(self, account_id: int) -> None:
        self._account_id = account_id
        self._people: dict[str, Name | None] = {}
        self._labels: dict[str, str | None] = {}
        self._folders: dict[str, str | None] = {}

    def forget(self) -> None:
        """Drop what is known: a transaction was rolled back."""
        self._people.clear()
        self._labels.clear()
        self._folders.clear()

    def write_names(self, cursor: Cursor, messages: Iterable[Message]) -> int:
        """Bring labels and folders up to date with what these messages show; the last message wins.

        Returns how many folders were not known before.
        """
        labels: dict[str, str | None] = {}
        folders: dict[str, str | None] = {}
        for message in messages:
            for label in message.labels:
                labels[label.id] = label.name
            if message.folder_id is not None:
                folders[message.folder_id] = None
        self._names(cursor, LABELS, {key(id_): name for id_, name in labels.items()}, self._labels)
        return self._names(cursor, FOLDERS, folders, self._folders)

    def write_folders(self, cursor: Cursor, folders: Sequence[Folder], gone: Sequence[str]) -> None:
        """Write the names of folders that were asked for, and mark those that do not exist."""
        self._names(cursor, FOLDERS, {folder.id: folder.name for folder in folders}, self._folders)
        if gone:
            cursor.execute(sql.GONE_FOLDERS, (self._account_id, list(gone)))

    def write_people(self, cursor: Cursor, written: Iterable[tuple[Row, Iterable[PersonRow]]]) -> None:
        """Add people not known yet, and names that stand on a newer message than the one known."""
        wanted = _names_on(written)
        if len(self._people) > MOST:
            self._people.clear()
        unknown = [address for address in wanted if address not in self._people]
        if unknown:
            cursor.execute(sql.KNOWN_PEOPLE, (self._account_id, unknown))
            for address, name, name_at, name_on in cursor.fetchall():
                self._people[address] = (name_key(name_at, name_on), name) if name_on is not None else None
        changed = [address for address in sorted(wanted) if self._newer(address, wanted[address])]
        if not changed:
            return
        names = [wanted[address] for address in changed]
        cursor.execute(
            sql.UPSERT_PEOPLE,
            (
                self._account_id,
                changed,
                [name[1] if name else None for name in names],
                [_time(name) for name in names],
                [name[0][1] if name else None for name in names],
            ),
        )
        self._people.update(zip(changed, names, strict=True))

    def take_names_back(self, cursor: Cursor, addresses: Iterable[str], message_ids: list[str]) -> None:
        """Give people another name where the message theirs was read on, now written anew, no longer bears it."""
        suspects = sorted(set(addresses))
        if suspects:
            cursor.execute(sql.TAKE_NAMES_BACK, (self._account_id, suspects, message_ids))
            for (address,) in cursor.fetchall():
                self._people.pop(address, None)

    def _newer(self, address: str, name: Name | None) -> bool:
        if address not in self._people:
            return True
        known = self._people[address]
        return name is not None and (known is None or (name[0] >= known[0] and name != known))

    def _names(
        self, cursor: Cursor, of: dict[str, str], wanted: dict[str, str | None], known: dict[str, str | None]
    ) -> int:
        """Write what is new or has another name; returns how many rows that were."""
        unknown = [id_ for id_ in wanted if id_ not in known]
        if unknown:
            cursor.execute(sql.KNOWN_NAMES.format(**of), (self._account_id, unknown))
            known.update((id_, name) for id_, name, gone in cursor.fetchall() if not gone)
        changed = [i for i in sorted(wanted) if i not in known or (wanted[i] is not None and wanted[i] != known[i])]
        if changed:
            cursor.execute(sql.UPSERT_NAMES.format(**of), (self._account_id, changed, [wanted[id_] for id_ in changed]))
            known.update((id_, wanted[id_]) for id_ in changed)
        return len(changed)


def _names_on(written: Iterable[tuple[Row, Iterable[PersonRow]]]) -> dict[str, Name | None]:
    """The newest name of each address among these messages; None where none carries one."""
    found: dict[str, Name | None] = {}
    for row, persons in written:
        newness = name_key(row.message.created, row.id)
        for person in persons:
            if person.address is None:
                continue
            known = found.get(person.address)
            if person.name and (known is None or newness > known[0]):
                found[person.address] = (newness, person.name)
            else:
                found.setdefault(person.address, None)
    return found


def _time(name: Name | None) -> datetime | None:
    """The time of a name, None again where the message has no valid one."""
    return None if name is None or name[0][0] == NAMELESS else name[0][0]
