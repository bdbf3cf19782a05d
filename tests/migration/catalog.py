"""What a database says of its own tables, to compare two databases or to write a page from it."""

from typing import Any, NamedTuple

import psycopg

SHAPE = {
    "column": """
        SELECT attrelid::regclass || '.' || attname, attnum, format_type(atttypid, atttypmod), attnotnull, attidentity,
            pg_get_expr(adbin, adrelid), col_description(attrelid, attnum)
        FROM pg_attribute JOIN pg_class AS c ON c.oid = attrelid
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE attnum > 0 AND NOT attisdropped AND relkind = 'r' AND relnamespace = ANY (%(schemas)s::regnamespace[])
    """,
    "constraint": """
        SELECT conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
        FROM pg_constraint
        WHERE contype <> 'n' AND connamespace = ANY (%(schemas)s::regnamespace[])
    """,
    "index": """
        SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid)
        FROM pg_index JOIN pg_class AS c ON c.oid = indexrelid
        WHERE relnamespace = ANY (%(schemas)s::regnamespace[])
    """,
    "table": """
        SELECT oid::regclass::text, obj_description(oid, 'pg_class'), reloptions
        FROM pg_class
        WHERE relkind = 'r' AND relnamespace = ANY (%(schemas)s::regnamespace[])
    """,
}

COLUMNS = """
    SELECT n.nspname, c.relname, c.relkind = 'v', obj_description(c.oid, 'pg_class'),
        a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, col_description(c.oid, a.attnum),
        COALESCE(a.attnum = ANY (i.indkey), false)
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_index AS i ON i.indrelid = c.oid AND i.indisprimary
    WHERE n.nspname IN ('mail', 'sync') AND c.relkind IN ('r', 'v')
    ORDER BY n.nspname, c.relkind, c.relname, a.attnum
"""


class Column(NamedTuple):
    """One column of a table or view, as the catalog has it."""

    schema: str
    table: str
    is_view: bool
    table_comment: str | None
    name: str
    type: str
    not_null: bool
    comment: str | None
    in_key: bool


def shape(connection: psycopg.Connection[Any]) -> dict[str, tuple[Any, ...]]:
    """Everything about our tables that a migration could get wrong; alembic's own table is left out."""
    found: dict[str, tuple[Any, ...]] = {}
    for kind, query in SHAPE.items():
        for name, *facts in connection.execute(query, {"schemas": ["mail", "sync"]}):
            if "alembic_version" not in name:
                found[f"{kind} {name}"] = tuple(facts)
    return found


def columns(connection: psycopg.Connection[Any]) -> list[Column]:
    """All columns of schemas mail and sync, tables before views."""
    return [Column(*row) for row in connection.execute(COLUMNS)]


HEAD = """# Tables

Written from the comments in the database by `tests/migration/test_tables_page.py`; change the comments, not this page.
Times are `timestamptz`. Schema `mail` is what people query; schema `sync` is the machinery.
"""


def tables_page(connection: psycopg.Connection[Any]) -> str:
    """The page docs/tables.md."""
    lines = [HEAD]
    last = ""
    for column in columns(connection):
        full = f"{column.schema}.{column.table}"
        if full != last:
            kind = " (view)" if column.is_view else ""
            lines += [
                "",
                f"## {full}{kind}",
                "",
                column.table_comment or "",
                "",
                "| column | type | meaning |",
                "|---|---|---|",
            ]
            last = full
        name = f"**{column.name}**" if column.in_key else column.name
        null = "" if column.not_null or column.is_view else ", null"
        kind = column.type.replace("timestamp with time zone", "timestamptz")
        meaning = (column.comment or "").replace("|", "\\|")
        lines.append(f"| {name} | {kind}{null} | {meaning} |")
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"
