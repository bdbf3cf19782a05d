"""The program makes no call that is dangerous by itself; each pattern is seen where it stands."""

from functools import partial
from pathlib import Path

import pytest

from tests.packaging.forbidden import ATTRIBUTES, CALLS, KEYWORDS, MODULES, Forbidden, find

ROOT = Path(__file__).resolve().parents[2]
PLACES = ("worker", "models", "alembic")

KNOWN: dict[tuple[str, str], str] = {
    ("worker/store/dispatch.py", "DUE.format("): "names of our own columns, from constants",
    ("worker/store/dispatch.py", "f\"update sync.accounts set {COLUMNS[queue]['mark']} = null where id = :id\""):
        "the name of our own column, from a constant",
    ("worker/store/shared.py", "sql.KNOWN_NAMES.format("): "names of our own tables, from a constant",
    ("worker/store/shared.py", "sql.UPSERT_NAMES.format("): "names of our own tables, from a constant",
    ("alembic/env.py", "f'SELECT pg_advisory_lock({LOCK})'"): "a number of ours",
    ("alembic/env.py", "literal_binds=True"): "prints migrations as a script, whose values are all ours",
    ("alembic/versions/0001_first.py", "statements.replace("): "a file beside it, with colons escaped",
    ("alembic/versions/0003_history.py", "statements.replace("): "a file beside it, with colons escaped",
    ("alembic/versions/0004_analytics.py", "statements.replace("): "a file beside it, with colons escaped",
    ("alembic/versions/0005_feed.py", "statements.replace("): "a file beside it, with colons escaped",
}  # fmt: skip
"""File and how what stands there begins, with the reason why it is safe."""


def everything() -> list[tuple[str, Forbidden]]:
    files = [path for place in PLACES for path in sorted((ROOT / place).rglob("*.py"))]
    assert len(files) > 80
    return [(str(path.relative_to(ROOT)), found) for path in files for found in find(path.read_text())]


def is_it(file: str, found: Forbidden, known: tuple[str, str]) -> bool:
    return file == known[0] and found.what.startswith(known[1])


def test_no_dangerous_call_is_made() -> None:
    unknown = [(file, *found) for file, found in everything() if not any(map(partial(is_it, file, found), KNOWN))]
    assert unknown == [], "do it another way, or give the reason in KNOWN"


def test_every_known_one_is_still_there() -> None:
    found = everything()
    assert [known for known in KNOWN if not any(is_it(*one, known) for one in found)] == []


SAMPLES = (
    *(f"import {module}" for module in MODULES),
    *(f"from {module} import anything" for module in MODULES),
    *(f"{call.partition('.')[0]}.x\n{call}(anything)" for call in CALLS),
    *(f"open_it(a, {name}={bad})" for name, bad in KEYWORDS),
    *(f"thing.{name} = {bad}" for name, bad in KEYWORDS),
    *(f"context.x(ssl.{name})" for name in ATTRIBUTES),
    "from os import system\nsystem('ls')",
    "import os as o\no.popen('ls')",
    "import subprocess as s\ns.run(words, shell=True)",
    "from yaml import load as read\nread(text)",
    "import httpx\nhttpx.Client(verify=False)",
    "import httpx\nhttpx.Client(follow_redirects=True, trust_env=False)",
    "sa.text(f'select {name}')",
    "connection.execute(text('select ' + name))",
    "connection.execute('select %s' % name)",
    "connection.execute('select {}'.format(name))",
    "cursor.execute(f'select {name}', values)",
    "cursor.execute(('select ' + name).encode())",
    "cursor.copy(f'copy {table} from stdin')",
    "connection.exec_driver_sql(', '.join(parts))",
)


@pytest.mark.parametrize("sample", SAMPLES)
def test_each_pattern_is_seen(sample: str) -> None:
    assert list(find(sample)) != []


@pytest.mark.parametrize(
    "sample",
    [
        "import httpx\nhttpx.Client(verify=context, follow_redirects=False, trust_env=False)",
        "connection.execute(sa.text('select :id'), {'id': name})",
        "cursor.execute('select %s', (name,))",
        "cursor.execute('select ' 'one')",
        "cursor.execute(sql.SQL('select {}').format(sql.Identifier(name)))",
        "subprocess.run([program, argument], shell=False)",
        "text = f'{a}'\nlabel.set(text)",
        "re.compile('x')",
        "model.eval()",
        "tempfile.mkdtemp()",
    ],
)
def test_what_is_harmless_is_left_alone(sample: str) -> None:
    assert list(find(sample)) == []
