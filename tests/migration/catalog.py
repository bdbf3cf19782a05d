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
    WHERE n.nspname IN ('analytics', 'mail', 'sync') AND c.relkind IN ('r', 'v')
    ORDER BY n.nspname, c.relkind, c.relname, a.attnum
"""

VIEWS = """
    SELECT oid::regclass::text, reloptions, pg_get_viewdef(oid)
    FROM pg_class
    WHERE relkind = 'v' AND relnamespace = ANY ('{analytics,mail,sync}'::regnamespace[])
    ORDER BY 1
"""

FUNCTIONS = """
    SELECT n.nspname, p.proname || '(' || pg_get_function_arguments(p.oid) || ')', obj_description(p.oid, 'pg_proc')
    FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = pronamespace
    WHERE n.nspname IN ('analytics', 'mail', 'sync')
    ORDER BY 1, 2
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
    """All columns of our schemas, tables before views."""
    return [Column(*row) for row in connection.execute(COLUMNS)]


def views(connection: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
    """All views of our schemas, each with its options and its query."""
    return connection.execute(VIEWS).fetchall()


def functions(connection: psycopg.Connection[Any]) -> list[tuple[str, str, str | None]]:
    """All functions of our schemas: schema, name with arguments, comment."""
    return connection.execute(FUNCTIONS).fetchall()


HEAD = """# Tables

Written from the comments in the database by `tests/migration/test_tables_page.py`; change the comments, not this page.
Times are `timestamptz`. Schema `mail` is what people query, schema `analytics` answers the usual questions about it
(docs/analytics.md), schema `sync` is the machinery.
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
    lines += ["", "## Functions", "", "| function | meaning |", "|---|---|"]
    for schema, call, comment in functions(connection):
        shown = call.replace("timestamp with time zone", "timestamptz").replace("time without time zone", "time")
        lines.append(f"| `{schema}.{shown}` | {comment or ''} |")
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"
