"""Messages → tables, set-based: one probe of digests, then each message takes the cheapest way that is right.

unknown             binary COPY into messages, message_people, message_labels, attachments
equal               nothing is written
light part differs  thread, folder and labels alone
content differs     the row, its people and attachments anew, its labels by difference
tombstone           held for a GET when a list page shows it; revived by a GET
"""

from collections.abc import Iterable, Sequence
from typing import Any

import psycopg
from msgspec import Struct
from msgspec.structs import replace
from psycopg.types.json import set_json_dumps

from worker.records import Message
from worker.store import sql
from worker.store.rows import MESSAGE_COLUMNS, PersonRow, Projection, Row, message_columns, people, row, same_content
from worker.store.shared import Shared

Cursor = psycopg.Cursor[Any]

PEOPLE_COLUMNS = {
    "account_id": "int8",
    "message_id": "text",
    "role": "text",
    "position": "int4",
    "address": "text",
    "email": "text",
    "name": "text",
}
LABEL_COLUMNS = {"account_id": "int8", "message_id": "text", "label_id": "text"}
ATTACHMENT_COLUMNS = {
    "account_id": "int8",
    "message_id": "text",
    "position": "int4",
    "file_id": "text",
    "name": "text",
    "mime_type": "text",
    "size": "int8",
    "href": "text",
}

_UPDATED = {name: kind for name, kind in MESSAGE_COLUMNS.items() if name != "account_id"}
_AS_TEXT = {"jsonb", "text[]"}
"""Types that cannot stand in an array of unequal members, so they travel as text."""

UPDATE_CONTENT = sql.UPDATE_CONTENT.format(
    assignments=", ".join(
        f"{name} = u.{name}" + (f"::{kind}" if kind in _AS_TEXT else "")
        for name, kind in _UPDATED.items()
        if name != "message_id"
    ),
    arrays=", ".join(f"%b::{'text' if kind in _AS_TEXT else kind}[]" for kind in _UPDATED.values()),
    columns=", ".join(_UPDATED),
)


class Written(Struct, frozen=True, kw_only=True):
    """Which way the messages of a batch took, by id."""

    added: Sequence[Row] = ()
    content: Sequence[Row] = ()
    light: Sequence[Row] = ()
    equal: Sequence[Row] = ()
    revived: Sequence[Row] = ()
    left: Sequence[str] = ()
    """Those of them that lie in another folder than before, or come back: the folder they lay in is past."""
    held: Sequence[str] = ()
    new_folders: int = 0


def write(
    cursor: Cursor,
    account_id: int,
    listed: Iterable[Message],
    fetched: Iterable[Message],
    projection: Projection,
    shared: Shared,
    *,
    rewrite: bool = False,
) -> Written:
    """Bring the tables up to these messages; of one id the last wins, and a fetched one before a listed one.

    `rewrite` writes all of them anew with their children, even where the digest says that nothing differs.
    """
    if projection.keep_raw:
        # What goes into a jsonb column is JSON text already.
        set_json_dumps(lambda text: text, cursor)
    rows = {m.id: row(m, projection) for m in listed}
    by_get = {m.id: row(m, projection) for m in fetched}
    rows.update(by_get)
    if not rows:
        return Written()
    ways = _ways(cursor, account_id, rows, by_get.keys())
    bearers: list[str] = []
    if rewrite:
        ways = replace(ways, content=[*ways.content, *ways.light, *ways.equal], light=(), equal=())
        bearers = _clear_children(cursor, account_id, [r.id for r in ways.added])
    held = set(ways.held)
    applied = [r for r in rows.values() if r.id not in held] if held else rows.values()
    rewritten = [*ways.content, *ways.revived]
    new_folders = shared.write_names(cursor, (r.message for r in applied))
    written = [(r, people(r.message)) for r in (*ways.added, *rewritten)]
    shared.write_people(cursor, written)
    if rewritten or ways.light:
        if ways.left:
            cursor.execute(sql.LEAVE_FOLDERS, (account_id, ways.left))
        _relabel(cursor, account_id, [*ways.content, *ways.light], ways.revived)
    if rewritten:
        bearers += _rewrite(cursor, account_id, rewritten, projection)
    if ways.light:
        _light(cursor, account_id, ways.light)
    _add(cursor, account_id, ways.added, projection)
    _add_people(cursor, account_id, written)
    shared.take_names_back(cursor, bearers, [r.id for r in rewritten])
    _add_attachments(cursor, account_id, [*ways.added, *rewritten])
    return replace(ways, new_folders=new_folders)


def _ways(cursor: Cursor, account_id: int, rows: dict[str, Row], by_get: Iterable[str]) -> Written:
    """Decide for each message by its digest and tombstone as they stand."""
    # Planned each time: a plan made while the table was empty reads the whole account for every id, and would be kept.
    cursor.execute(sql.PROBE, (list(rows), account_id), prepare=False)
    known = {id_: rest for id_, *rest in cursor.fetchall()}
    fetched = set(by_get)
    ways: dict[str, list[Row]] = {name: [] for name in ("added", "content", "light", "equal", "revived")}
    held, left = [], []
    for id_, new in rows.items():
        if id_ not in known:
            ways["added"].append(new)
            continue
        digest, folder, dead = known[id_]
        if dead and id_ not in fetched:
            held.append(id_)
            continue
        if not dead and digest == new.digest:
            ways["equal"].append(new)
            continue
        if dead or folder != new.message.folder_id:
            left.append(id_)
        ways["revived" if dead else "light" if same_content(digest, new.digest) else "content"].append(new)
    return Written(
        added=ways["added"],
        content=ways["content"],
        light=ways["light"],
        equal=ways["equal"],
        revived=ways["revived"],
        left=left,
        held=held,
    )


def _add(cursor: Cursor, account_id: int, rows: Sequence[Row], projection: Projection) -> None:
    _copy(cursor, "messages", MESSAGE_COLUMNS, (message_columns(account_id, r, projection) for r in rows))
    labels = ((account_id, r.id, label) for r in rows for label in r.label_ids)
    _copy(cursor, "message_labels", LABEL_COLUMNS, labels)


def _add_people(cursor: Cursor, account_id: int, written: Sequence[tuple[Row, Sequence[PersonRow]]]) -> None:
    values = ((account_id, r.id, *person) for r, persons in written for person in persons)
    _copy(cursor, "message_people", PEOPLE_COLUMNS, values)


def _add_attachments(cursor: Cursor, account_id: int, rows: Sequence[Row]) -> None:
    values = (
        (account_id, r.id, place, file.id, file.name, file.mime_type, file.size, file.href)
        for r in rows
        for place, file in enumerate(r.message.attachments)
    )
    _copy(cursor, "attachments", ATTACHMENT_COLUMNS, values)


def _copy(cursor: Cursor, table: str, columns: dict[str, str], values: Iterable[tuple[Any, ...]]) -> None:
    """COPY the values, or do nothing at all where there are none."""
    iterator = iter(values)
    first = next(iterator, None)
    if first is None:
        return
    statement = f"copy mail.{table} ({', '.join(columns)}) from stdin (format binary)"
    with cursor.copy(statement) as copy:
        copy.set_types(list(columns.values()))
        copy.write_row(first)
        for value in iterator:
            copy.write_row(value)


def _clear_children(cursor: Cursor, account_id: int, ids: list[str]) -> list[str]:
    """Take away whatever hangs on messages that are lost themselves; gives their addresses."""
    for statement in (sql.DROP_ATTACHMENTS, sql.DROP_ALL_LABELS):
        cursor.execute(statement, (account_id, ids))
    return _drop_people(cursor, account_id, ids)


def _drop_people(cursor: Cursor, account_id: int, ids: list[str]) -> list[str]:
    cursor.execute(sql.DROP_PEOPLE, (account_id, ids))
    return [address for (address,) in cursor.fetchall() if address is not None]


def _light(cursor: Cursor, account_id: int, rows: Sequence[Row]) -> None:
    cursor.execute(
        sql.UPDATE_LIGHT,
        (
            [r.id for r in rows],
            [r.message.thread_id for r in rows],
            [r.message.folder_id for r in rows],
            [r.digest for r in rows],
            account_id,
        ),
    )


def _relabel(cursor: Cursor, account_id: int, rows: Sequence[Row], revived: Sequence[Row]) -> None:
    """Take labels off that are no longer on the message, and put the new ones on; what comes back is labelled anew."""
    kept = [(r.id, label) for r in rows for label in r.label_ids]
    wanted = [*kept, *((r.id, label) for r in revived for label in r.label_ids)]
    ids = [r.id for r in (*rows, *revived)]
    cursor.execute(sql.DROP_LABELS, (ids, account_id, [id_ for id_, _ in kept], [label for _, label in kept]))
    if wanted:
        cursor.execute(sql.ADD_LABELS, (account_id, [id_ for id_, _ in wanted], [label for _, label in wanted]))


def _rewrite(cursor: Cursor, account_id: int, rows: Sequence[Row], projection: Projection) -> list[str]:
    """Write the rows again with their bodies; the caller adds their people and attachments.

    Returns the addresses that stood on them.
    """
    names = list(MESSAGE_COLUMNS)
    values = zip(*(message_columns(account_id, r, projection) for r in rows), strict=True)
    columns = {name: list(column) for name, column in zip(names, values, strict=True)}
    columns["altered"] = ["{" + ",".join(fields) + "}" if fields else None for fields in columns["altered"]]
    cursor.execute(UPDATE_CONTENT, (*(columns[name] for name in _UPDATED), account_id))
    ids = [r.id for r in rows]
    cursor.execute(sql.DROP_ATTACHMENTS, (account_id, ids))
    return _drop_people(cursor, account_id, ids)


def applied_ids(written: Written) -> list[str]:
    """Ids of the messages that the tables now show as they were observed."""
    return [r.id for r in (*written.added, *written.content, *written.light, *written.equal, *written.revived)]
