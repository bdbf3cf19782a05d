"""What a server says that each role may do: for the page roles.txt, and to compare it."""

from collections.abc import Iterator, Sequence
from typing import Any

import psycopg

ROLES = ("mailmirror_owner", "mailmirror_worker", "mailmirror_analyst", "public")
TABLE = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
SEQUENCE = ("USAGE", "SELECT", "UPDATE")
SCHEMA = ("USAGE", "CREATE")
DATABASE = ("CONNECT", "CREATE", "TEMPORARY")

OBJECTS = """
    SELECT 'database', 'this database', oid FROM pg_database WHERE datname = current_database()
    UNION ALL
    SELECT 'schema', nspname, oid FROM pg_namespace WHERE nspname IN ('mail', 'analytics', 'sync', 'public')
    UNION ALL
    SELECT CASE relkind WHEN 'S' THEN 'sequence' WHEN 'v' THEN 'view' ELSE 'table' END, c.oid::regclass::text, c.oid
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace
    WHERE nspname IN ('mail', 'analytics', 'sync', 'public') AND relkind NOT IN ('i', 'I', 'c', 't')
    UNION ALL
    SELECT 'function', p.oid::regprocedure::text, p.oid
    FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = pronamespace
    WHERE nspname IN ('mail', 'analytics', 'sync', 'public')
    ORDER BY 1, 2
"""

ATTRIBUTES = """
    SELECT rolname, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, coalesce(rolconfig, '{}')
    FROM pg_roles WHERE rolname LIKE 'mailmirror\\_%' ORDER BY 1
"""

HEAD = """\
Who may do what in a database of mailmirror: every right of every role, as PostgreSQL answers.
A new right, or one less, shows here as a difference. To write it anew:
WRITE_DOCS=1 pytest tests/integration/store/test_roles.py -k matrix
"""


def matrix(connection: psycopg.Connection[Any]) -> str:
    """The page: one line for each object and role that may do anything with it."""
    lines = [HEAD]
    for kind, name, oid in connection.execute(OBJECTS).fetchall():
        lines.append(f"{kind} {name}")
        for role in ROLES:
            held = list(_held(connection, kind, oid, role))
            lines.append(f"    {role.removeprefix('mailmirror_'):8} {' '.join(held) or '-'}")
    lines.append("")
    for role, *attributes, settings in connection.execute(ATTRIBUTES).fetchall():
        names = ("superuser", "createrole", "createdb", "replication", "bypassrls")
        has = [name for name, given in zip(names, attributes, strict=True) if given]
        lines.append(f"role {role.removeprefix('mailmirror_')}: {' '.join(has) or 'no attribute'}")
        lines += [f"    {setting}" for setting in settings]
    return "\n".join(lines) + "\n"


def _held(connection: psycopg.Connection[Any], kind: str, oid: int, role: str) -> Iterator[str]:
    asked: dict[str, tuple[str, Sequence[str]]] = {
        "database": ("database", DATABASE),
        "schema": ("schema", SCHEMA),
        "table": ("table", TABLE),
        "view": ("table", TABLE),
        "sequence": ("sequence", SEQUENCE),
        "function": ("function", ("EXECUTE",)),
    }
    what, rights = asked[kind]
    if what == "table" and role != ROLES[0] and connection.info.server_version >= 170000:
        rights = (*rights, "MAINTAIN")  # newer than the oldest servers; nobody but the owner has it
    for right in rights:
        answer = f"SELECT has_{what}_privilege(%s, %s::oid, %s)"
        if connection.execute(answer.encode(), (role, oid, right)).fetchone() == (True,):
            yield right
        elif what == "table" and right in {"SELECT", "INSERT", "UPDATE", "REFERENCES"}:
            column = "SELECT has_any_column_privilege(%s, %s::oid, %s)"
            if connection.execute(column, (role, oid, right)).fetchone() == (True,):
                yield f"{right}(some columns)"
