"""The dbt source file of what people query, written from the comments in the database."""

from typing import Any

import psycopg
import yaml

from tests.migration import catalog

HEAD = """\
# Sources for dbt: copy this file into the models of your project, or name it in a package.
# Written from the comments in the database by tests/analytics/test_dbt.py; change the comments, not this file.
"""
SCHEMAS = {"mail": "mailmirror", "analytics": "mailmirror_analytics"}
"""Schema and the name of its source: `{{ source('mailmirror_analytics', 'replies') }}`."""


def sources(connection: psycopg.Connection[Any]) -> str:
    """The file docs/dbt/sources.yml."""
    schemas = connection.execute("select nspname, obj_description(oid, 'pg_namespace') from pg_namespace").fetchall()
    words = dict(schemas)
    columns = catalog.columns(connection)
    found = [
        {
            "name": source,
            "schema": schema,
            "description": words[schema],
            "tables": [
                {
                    "name": table,
                    "description": next(c.table_comment for c in columns if (c.schema, c.table) == (schema, table)),
                    "columns": [
                        {"name": c.name, "description": c.comment, "data_type": c.type}
                        for c in columns
                        if (c.schema, c.table) == (schema, table)
                    ],
                }
                for table in dict.fromkeys(c.table for c in columns if c.schema == schema)
            ],
        }
        for schema, source in SCHEMAS.items()
    ]
    body = yaml.safe_dump({"version": 2, "sources": found}, sort_keys=False, width=120, allow_unicode=True)
    return HEAD + body
