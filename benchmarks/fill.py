"""A large mirror in little time: rows of real messages multiplied inside Postgres, with a ledger that fits them.

The rows are what the store wrote for a template account; ids, times and threads are new. Ids come in no order, as
hashes do. Indexes are made when all rows are there, and as full as years of such ids would have left them; nothing
waits for the disk meanwhile.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg

from benchmarks.store import Bench
from worker.records import Message
from worker.store import accounts
from worker.store.engine import connect

SINCE, UNTIL = datetime(2010, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC)
"""The filled part of an account's history."""
FAR = "2100-01-01"
WINDOW = 2000
HURRIED = ("fsync", "full_page_writes", "synchronous_commit")
FULL = 70
"""Per cent: how full pages of an index are to which keys came in no order, as they had to be split."""

NUMBER = "(n * %(base)s + t.number)"
ID = f"'message_' || rtrim(encode(convert_to(left(md5({NUMBER}::text), 16), 'utf8'), 'base64'), '=')"
MESSAGES = f"""
insert into mail.messages (account_id, message_id, thread_id, folder_id, subject, snippet, created, text_body, body,
    body_size, body_truncated, rfc822_file_id, has_attachments, digest)
select %(account)s, {ID}, 'thread_' || md5(({NUMBER} / 3)::text), folder_id, subject, snippet,
    date_trunc('second', %(since)s + (%(until)s::timestamptz - %(since)s)
        * ({NUMBER}::float8 / %(count)s)),
    case when %(bodies)s then text_body end, case when %(bodies)s then body end, body_size, body_truncated,
    rfc822_file_id, has_attachments, digest
from generate_series(%(first)s::int8, %(last)s) n cross join template t join mail.messages m using (message_id)
where m.account_id = %(of)s order by n
"""
CHILDREN = """
insert into mail.{table} (account_id, message_id, {columns})
select %(account)s, <id>, {columns}
from generate_series(%(first)s::int8, %(last)s) n cross join template t join mail.{table} m using (message_id)
where m.account_id = %(of)s order by n
""".replace("<id>", ID)
COLUMNS = {
    "message_people": "role, position, address, email, name",
    "message_labels": "label_id",
    "attachments": "position, file_id, name, mime_type, size, href",
}
PEOPLE = """
insert into mail.people (account_id, address, name, name_at, name_on)
select %(account)s, address, name, name_at, name_on from mail.people where account_id = %(of)s
"""
LABELS = """
insert into mail.labels (account_id, label_id, name)
select %(account)s, label_id, name from mail.labels where account_id = %(of)s
"""
OFF = """
update pg_index set indisready = false where indrelid in
    (select oid from pg_class where relnamespace = 'mail'::regnamespace and relname = any(%s))
"""
"""New rows pass the indexes by until these are made anew, which is as after a CREATE INDEX that was broken off."""
INDEXES = """
select i.indexrelid::regclass::text, i.indpred is null,
    (select string_agg(pg_get_indexdef(i.indexrelid, n, false), ', ' order by n)
     from generate_series(1, i.indnkeyatts) n)
from pg_index i join pg_class c on c.oid = i.indrelid
where c.relnamespace = 'mail'::regnamespace and c.relname = %s
"""
ORDERED = (
    "set enable_seqscan = off; set enable_bitmapscan = off; set enable_sort = off; set enable_incremental_sort = off"
)
"""Leaves nothing for an ORDER BY but to read the index that has this order."""
LEDGER = """
insert into sync.windows (account_id, after, before, state, pages, seen, walked_at, next_walk_at)
select %(account)s, date_trunc('second', %(since)s + width * n),
    date_trunc('second', %(since)s + width * (n + 1)), 'done', %(window)s / 100, %(window)s, sync.now(), %(far)s
from (select (%(until)s::timestamptz - %(since)s) / (%(count)s / %(window)s)) w (width),
    generate_series(0, %(count)s / %(window)s - 1) n
"""


def fill(url: str, account_id: int, count: int, template: Sequence[Sequence[Message]], *, bodies: bool = True) -> None:
    """Give an account `count` messages, all of them within `SINCE` and `UNTIL`, and done windows over them.

    The indexes come after a checkpoint, so that none of their pages is logged whole when it is changed next. The
    template's size must divide `count`.
    """
    with psycopg.connect(url, autocommit=True) as console, hurried(console):
        of = _template(url, console, template)
        base = sum(map(len, template))
        values: dict[str, Any] = {"account": account_id, "of": of, "base": base, "count": count, "bodies": bodies}
        values |= {"since": SINCE, "until": UNTIL, "window": WINDOW, "far": FAR}
        for statement in (PEOPLE, LABELS, LEDGER):
            console.execute(statement.encode(), values)
        children = [CHILDREN.format(table=table, columns=columns) for table, columns in COLUMNS.items()]
        console.execute(OFF, (["messages", *COLUMNS],))
        _side_by_side(url, [[MESSAGES], children], {**values, "first": 0, "last": count // base - 1})
        console.execute("checkpoint")
        anew = {table: _made_anew(console, table) for table in ("messages", *COLUMNS)}
        _side_by_side(url, [anew.pop("messages"), [one for made in anew.values() for one in made]])
        console.execute(f"drop table template; delete from sync.accounts where id = {of}".encode())


def _made_anew(console: psycopg.Connection[Any], table: str) -> list[str]:
    """Statements that make a table's indexes anew; what made them wrote past the server's buffers, so they are read."""
    found = list(console.execute(INDEXES, (table,)))
    return [
        *(f"alter index {name} set (fillfactor = {FULL})" for name, *_ in found),
        f"reindex table mail.{table}",
        *(f"alter index {name} reset (fillfactor)" for name, *_ in found),
        f"vacuum analyze mail.{table}",
        ORDERED,
        *(
            f"select count(*) from (select from mail.{table} order by {key} offset 0) t"
            for _, whole, key in found
            if whole
        ),
    ]


def _template(url: str, console: psycopg.Connection[Any], batches: Sequence[Sequence[Message]]) -> int:
    """Store the template's messages with the real store, and number them."""
    engine = connect(url)
    account = accounts.add(engine, kind="kloudless", upstream_id="template")
    bench = Bench(engine, console, console, account.id, batches)
    bench.open()
    bench.commit(batches)
    bench.close()
    engine.dispose()
    console.execute(
        f"create table template as select message_id, (row_number() over () - 1)::int8 as number"
        f" from mail.messages where account_id = {account.id}".encode()
    )
    console.execute("analyze")
    return account.id


def _side_by_side(url: str, work: Sequence[Sequence[str]], values: dict[str, Any] | None = None) -> None:
    """Run lists of statements, each list in a session and a thread of its own."""
    failed: list[psycopg.Error] = []

    def run(statements: Sequence[str]) -> None:
        try:
            with psycopg.connect(url, autocommit=True) as session:
                session.execute("set work_mem = '512MB'; set maintenance_work_mem = '512MB'")
                for statement in statements:
                    session.execute(statement.encode(), values)
        except psycopg.Error as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(statements,)) for statements in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


@contextmanager
def hurried(console: psycopg.Connection[Any]) -> Iterator[None]:
    """Do not wait for the disk within the with block."""
    for name in HURRIED:
        console.execute(f"alter system set {name} = off".encode())
    console.execute("select pg_reload_conf()")
    try:
        yield
    finally:
        for name in HURRIED:
            console.execute(f"alter system reset {name}".encode())
        console.execute("select pg_reload_conf()")
