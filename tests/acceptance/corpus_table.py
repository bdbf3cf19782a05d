"""`python -m tests.acceptance.corpus_table --write`: mirrors every file of the corpus and writes docs/corpus.md.

Each file is served by a sandbox of its own and mirrored by `mailmirror sync` into a new database of a PostgreSQL with
its usual, durable settings. The corpus lies beside the checkout or where MAILMIRROR_CORPUS says.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from tests.acceptance.stage import ROOT, Mirrored, upstream
from tests.conftest import prepare
from worker.local.postgres import RunningPostgres, start

PAGE = ROOT / "docs" / "corpus.md"
FILES = (
    "hard-cases.tar.gz",
    "osst-users-to-2021.mbox.gz",
    "spamassassin-easy_ham-hard_ham-spam.mbox.gz",
    "linux-man-2020-2021.mbox.gz",
    "usrp-users-2019-2021.mbox.gz",
)
WAYS = {
    "newest first, keyset paging, dates of delivery": (),
    "shuffled order, offset paging, wild dates": (
        "--switch", "paging=offset", "--switch", "order=shuffled", "--switch", "wild_dates=true",
    ),
}  # fmt: skip
HEAD = """# Real mail

Every message of the test corpus (public mailing lists, the SpamAssassin corpus, and a collection of hard cases: broken
MIME, NULs, impossible dates, unknown charsets) is served by the sandbox and mirrored by `mailmirror sync`. Then a judge
that shares no code with the worker (`tests/truth.py`) compares every field of every message with the tables.

Written by `python -m tests.acceptance.corpus_table --write` on {machine}.
The time is that of the sync alone; sandbox, worker and PostgreSQL share the processors.
"""
COLUMNS = ("file", "messages", "seconds", "messages/s", "requests", "open problems", "truth")


@dataclass(frozen=True)
class Line:
    """What one file cost, and whether its mirror is right."""

    name: str
    messages: int
    seconds: float
    requests: int
    problems: int
    equal: bool

    def cells(self) -> tuple[str, ...]:
        """The cells of the table's row."""
        rate = f"{self.messages / self.seconds:,.0f}"
        verdict = "equal" if self.equal else "**differs**"
        return (self.name, f"{self.messages:,}", f"{self.seconds:.1f}", rate, f"{self.requests:,}", str(self.problems),
                verdict)  # fmt: skip


def measure(postgres: RunningPostgres, path: Path, switches: tuple[str, ...]) -> Line:
    """Mirror one file into a database of its own."""
    name = f"corpus_{os.urandom(4).hex()}"
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"create database {name}".encode())
    url = prepare(f"{postgres.url.rpartition('/')[0]}/{name}")
    with tempfile.TemporaryDirectory() as data, upstream("--mbox", str(path), *switches) as running:
        mirrored = Mirrored(url, running.served()[0], Path(data))
        try:
            run = mailmirror_sync(mirrored)
            report = mirrored.truth()
        finally:
            mirrored.close()
    if not report.equal:
        sys.stderr.write(f"{path.name}: {report}\n")
    return Line(path.name, report.checked, run["seconds"], run["requests"], len(report.open_problems), report.equal)


def mailmirror_sync(mirrored: Mirrored) -> dict[str, Any]:
    """Run the command; returns what it says of the account's run."""
    command = [sys.executable, "-m", "worker", "sync", str(mirrored.id), "--json"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **mirrored.environment()}, capture_output=True,
                          text=True, check=True)  # fmt: skip
    [run] = json.loads(done.stdout)
    return dict(run)


def table(lines: list[Line]) -> Iterator[str]:
    """A Markdown table with a last line of sums."""
    total = Line("together", sum(line.messages for line in lines), sum(line.seconds for line in lines),
                 sum(line.requests for line in lines), sum(line.problems for line in lines),
                 all(line.equal for line in lines))  # fmt: skip
    yield "| " + " | ".join(COLUMNS) + " |"
    yield "|---" + "|---:" * (len(COLUMNS) - 2) + "|---|"
    for line in (*lines, total):
        yield "| " + " | ".join(line.cells()) + " |"


def machine(postgres: RunningPostgres) -> str:
    """What the figures were measured on."""
    with psycopg.connect(postgres.url) as connection:
        version = connection.info.server_version
    server = f"PostgreSQL {version // 10000}.{version % 10000}"
    return f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}, {server}"


def main() -> int:
    """Measure everything and print or write the page; returns 1 when a mirror is not equal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/corpus.md instead of printing")
    given = parser.parse_args()
    corpus = Path(os.environ.get("MAILMIRROR_CORPUS") or ROOT.parent / "shared" / "corpus")
    text, right = [], True
    with start() as postgres:
        text.append(HEAD.format(machine=machine(postgres)))
        for way, switches in WAYS.items():
            lines = [measure(postgres, corpus / name, switches) for name in FILES]
            right = right and all(line.equal for line in lines)
            text += [f"## Served in {way}\n", *table(lines), ""]
    page = "\n".join(text)
    if given.write:
        PAGE.write_text(page)
    else:
        sys.stdout.write(page)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
