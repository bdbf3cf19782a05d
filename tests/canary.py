"""Canaries (I10): marks in tokens, mail and addresses of the sandbox, and the search for them where they must not be.

    python -m tests.canary …    the sandbox (arguments as for worker.sandbox), its tokens, mail and addresses marked

A conftest that imports `canaries` and `pytest_runtest_makereport` has every test below it searched: what was logged
at any level, what the test and its child processes printed, the words of every error of ours that was made, what the
database server logged. `search_mirror` and `search_redis` look into what a test leaves behind; fixtures call them.
"""

import base64
import contextlib
import io
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psycopg
import pytest
import redis

from worker.cli import main
from worker.errors import MailmirrorError

TOKEN = "canary-token-"
BODY = "canary-body-9d1f"
ADDRESS = "canary-address."
EVERY = (TOKEN, BODY, ADDRESS)

COMMANDS = (("status", "--json"), ("status",), ("accounts", "list", "--json"), ("problems", "list", "--all", "--json"),
            ("problems", "list", "--all"), ("keys", "list", "--json"), ("config",))  # fmt: skip
"""Output for people in which nothing may stand of a token, of mail or of its people."""

SHOWN_PROBLEMS = 5


class LeakError(AssertionError):
    """A canary stands where it must not be."""


def search(place: str, text: str, canaries: Iterable[str] = EVERY) -> None:
    """Fail when a canary stands in the text: as it is, in hex (bytea) or in base64 (a task's body)."""
    for canary in canaries:
        forms = (canary, canary.encode().hex(), *_base64(canary))
        found = [text.find(form) for form in forms if form in text]
        if found:
            raise LeakError(f"{canary!r} in {place}: …{text[max(0, found[0] - 300) : found[0] + 100]}…")


def _base64(canary: str) -> Iterator[str]:
    """What of its base64 does not depend on the neighbours, at each of the three offsets."""
    for offset in range(3):
        body = base64.b64encode(b"\0" * offset + canary.encode()).decode().rstrip("=")
        yield body[(0, 2, 3)[offset] : -1]


class Ears(logging.Handler):
    """Keeps all that is said while a test runs."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))
        self.heard: dict[str, list[str]] = {"a log": [], "an error's words": [], "a child's output": []}

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record as it would be written, with its traceback."""
        self.heard["a log"].append(self.format(record))

    def search(self) -> None:
        """Fail when a canary was said."""
        for place, texts in self.heard.items():
            search(place, "\n".join(texts))


@contextlib.contextmanager
def listening() -> Iterator[Ears]:
    """Hear every logger at every level, every error of ours that is made, and the output of children that is read."""
    ears = Ears()
    root = logging.getLogger()
    level = root.level
    chatty = logging.getLogger("redis.connection")  # a line for each connection, of nothing but itself
    made = MailmirrorError.__init__
    communicate: Callable[..., Any] = subprocess.Popen.communicate

    def make(self: MailmirrorError, *words: object) -> None:
        ears.heard["an error's words"].append(" ".join(map(str, words)))
        made(self, *words)

    def talk(self: Any, *arguments: Any, **more: Any) -> Any:
        said = communicate(self, *arguments, **more)
        ears.heard["a child's output"] += [_text(part) for part in said if part]
        return said

    root.addHandler(ears)
    root.setLevel(logging.DEBUG)
    chatty.setLevel(logging.INFO)
    try:
        with patch.object(MailmirrorError, "__init__", make), patch.object(subprocess.Popen, "communicate", talk):
            yield ears
    finally:
        root.setLevel(level)
        chatty.setLevel(logging.NOTSET)
        root.removeHandler(ears)


@pytest.fixture(autouse=True)
def canaries(request: pytest.FixtureRequest) -> Iterator[None]:
    """Search what was said during the test."""
    log = request.getfixturevalue("postgres").running.log if "postgres" in request.fixturenames else None
    begin = log.stat().st_size if log is not None else 0
    with listening() as ears:
        yield
    ears.search()
    if log is not None:
        search_file(log, begin)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Search what the test and the processes that share its outputs have printed."""
    report = yield
    try:
        for name, text in report.sections:
            search(name, text)
    except LeakError as leak:
        report.outcome = "failed"
        report.longrepr = str(leak)
    return report


def search_file(path: Path, begin: int = 0) -> None:
    """Search a log file from an offset on."""
    with path.open("rb") as file:
        file.seek(begin)
        search(path.name, _text(file.read()))


def search_database(url: str) -> None:
    """Search every column of every table: tokens nowhere; mail and its people in schema mail alone.

    The one exception are the bytes of what could not be read (sync.problems.bytes): they are mail.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        tables = connection.execute(
            "select schemaname, tablename from pg_tables where schemaname in ('mail', 'sync') order by 1, 2"
        ).fetchall()
        assert len(tables) > 10
        for schema, table in tables:
            name, whole = f"{schema}.{table}", "t::text"
            found = _rows(connection, name, whole, (TOKEN,) if schema == "mail" or table == "problems" else EVERY)
            if table == "problems":
                found += _rows(connection, name, "(to_jsonb(t) - 'bytes')::text", EVERY)
            for row in found:
                search(name, row, (TOKEN,) if schema == "mail" else EVERY)


def _rows(connection: psycopg.Connection[Any], table: str, row: str, canaries: Iterable[str]) -> list[str]:
    forms = [form for canary in canaries for form in (canary, canary.encode().hex())]
    pattern = "|".join(re.escape(form) for form in forms)
    return [text for (text,) in connection.execute(f"select {row} from {table} as t where {row} ~ %s", [pattern])]


def search_mirror(url: str, environment: dict[str, str]) -> None:
    """Search the database of a mirror, and what the command line shows of it."""
    search_database(url)
    for command in COMMANDS:
        search("mailmirror " + " ".join(command), _printed(command, environment))
    listed = json.loads(_printed(("problems", "list", "--all", "--json"), environment))
    for problem in listed[:SHOWN_PROBLEMS]:
        for form in ((), ("--json",)):
            shown = _printed(("problems", "show", str(problem["id"]), *form), environment)
            # The bytes of what could not be read are the answer to the question; a token is nobody's.
            search("mailmirror problems show", shown, (TOKEN,))


def _printed(arguments: tuple[str, ...], environment: dict[str, str]) -> str:
    """Run `mailmirror` in this process; returns what it printed on either output."""
    kept = {name: text for name, text in os.environ.items()
            if not name.startswith(("MAILMIRROR_", "DATABASE_URL", "REDIS_URL"))}  # fmt: skip
    out, err = io.StringIO(), io.StringIO()
    changed = patch.dict(os.environ, kept | environment, clear=True)
    with changed, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert ended.value.code in {0, 3}, (arguments, err.getvalue())
    return out.getvalue() + ("" if arguments[-1] == "--json" and arguments[0] == "problems" else err.getvalue())


def search_redis(url: str) -> None:
    """Search every key and value of a broker, as they lie there."""
    with redis.Redis.from_url(url, decode_responses=False) as client:
        for key in client.keys("*"):
            kind = client.type(key)
            search(f"the broker, {kind.decode()} {key!r}", f"{key!r} {client.execute_command(*_read_of(kind, key))!r}")


def _read_of(kind: bytes, key: bytes) -> tuple[bytes | str | int, ...]:
    """The command that reads a whole key."""
    if kind in {b"list", b"zset"}:
        return ("LRANGE" if kind == b"list" else "ZRANGE", key, 0, -1)
    return ({b"string": "GET", b"hash": "HGETALL", b"set": "SMEMBERS"}[kind], key)


def _text(words: object) -> str:
    return words.decode(errors="replace") if isinstance(words, bytes) else str(words)


def serve_marked() -> int:
    """Run the sandbox with marked tokens, sentences, subjects and senders."""
    from worker.sandbox import __main__ as sandbox
    from worker.sandbox import account, admin_accounts, words, world

    plain = account.token_of
    for module in (account, admin_accounts, world):
        vars(module)["token_of"] = lambda account_id, seed: TOKEN + plain(account_id, seed)
    marked: dict[str, object] = {
        "SENTENCES": tuple(f"{sentence} {BODY}" for sentence in words.SENTENCES),
        "SUBJECTS": tuple(f"{subject} {BODY}" for subject in words.SUBJECTS),
        "AUTOMATIC": tuple(f"{subject} {BODY}" for subject in words.AUTOMATIC),
        "DOMAINS": tuple(ADDRESS + domain for domain in words.DOMAINS),
        "SENDERS": tuple((address.replace("@", f"@{ADDRESS}"), name) for address, name in words.SENDERS),
        "NEWSLETTERS": tuple((address.replace("@", f"@{ADDRESS}"), name) for address, name in words.NEWSLETTERS),
    }
    vars(words).update(marked)
    return int(sandbox.main() or 0)


if __name__ == "__main__":
    sys.exit(serve_marked())
