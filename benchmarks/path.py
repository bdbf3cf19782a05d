"""Part `path`: HTTP → gunzip → decode → commit in one process, against what people would use instead.

dlt and the Singer target load the same pages into the same Postgres. They get them from files made beforehand: neither
fetching nor, for dlt, parsing JSON is charged to them, and neither is starting Python.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import server
from benchmarks.frame import Contestant, Elsewhere, Meter, Spread, compete, micros, ratio
from benchmarks.report import Row
from benchmarks.store import EMPTIED
from benchmarks.upstream import one_mailbox, raw_pages
from tests.acceptance.stage import Mirrored

MESSAGES = 5000
ROUNDS = 3
SERVICE = "outlook_email"
"""One that gives pages of 100, as all batches here are; Gmail gives 50 at most."""
HERE = Path(__file__).parent
PYTHON = HERE.parent / ".venv-bench" / "bin" / "python"

PERSON = {
    "type": ["object", "null"],
    "properties": {"email": {"type": ["string", "null"]}, "name": {"type": ["string", "null"]}},
}
LIST = {"type": ["array", "null"], "items": {"type": "object"}}
TEXT = {"type": ["string", "null"]}
SCHEMA: dict[str, Any] = {
    "type": "SCHEMA",
    "stream": "messages",
    "key_properties": ["id"],
    "schema": {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            **dict.fromkeys(("thread_id", "folder_id", "subject", "snippet", "type", "api", "text_body", "body"), TEXT),
            "created": {"type": ["string", "null"], "format": "date-time"},
            "from": PERSON,
            "rfc822": {"type": ["object", "null"]},
            **dict.fromkeys(("labels", "to", "cc", "bcc", "attachments"), LIST),
        },
    },
}


def singer_lines(pages: Sequence[bytes]) -> Iterator[str]:
    """Write the pages as Singer messages."""
    yield json.dumps(SCHEMA)
    for page in pages:
        for message in json.loads(page)["objects"]:
            yield json.dumps({"type": "RECORD", "stream": "messages", "record": message})


@dataclass(frozen=True, slots=True)
class Peers:
    """The others, each in a process of the environment of their own."""

    url: str
    folder: Path

    def prepare(self, pages: Sequence[bytes]) -> None:
        (self.folder / "pages").write_bytes(b"".join(json.dumps(json.loads(page)).encode() + b"\n" for page in pages))
        (self.folder / "lines").write_text("".join(f"{line}\n" for line in singer_lines(pages)))

    def dlt(self) -> Elsewhere:
        with tempfile.TemporaryDirectory() as folder:
            return self._run("dlt_merge.py", str(self.folder / "pages"), self.url, folder)

    def singer(self) -> Elsewhere:
        return self._run("singer_target.py", str(self.folder / "lines"), self.url)

    def _run(self, script: str, *arguments: str) -> Elsewhere:
        command = [str(PYTHON), str(HERE / "peers" / script), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": os.defpath})
        if done.returncode:
            raise SystemExit(f"{script} failed:\n{done.stderr[-2000:]}")
        return Elsewhere(json.loads(done.stdout.splitlines()[-1])["cpu"])


def run(rounds: int = ROUNDS) -> list[Row]:
    """Measure the whole path against both."""
    if not PYTHON.exists():
        raise SystemExit("The other tools are not set up yet. Run: make bench")
    with (
        tempfile.TemporaryDirectory() as folder,
        server.running({"default_toast_compression": "lz4"} if server.has_lz4(server.chosen()) else {}) as postgres,
        one_mailbox(MESSAGES, SERVICE) as box,
    ):
        url = server.database(postgres, "bench")
        peers = Peers(url, Path(folder))
        peers.prepare(list(raw_pages(box)))
        mirrored = Mirrored(url, box, Path(folder))
        with psycopg.connect(url, autocommit=True) as console:

            def empty() -> None:
                for statement in (
                    f"truncate {EMPTIED}",
                    "drop schema if exists dlt_mail cascade",
                    "drop schema if exists dlt_mail_staging cascade",
                    "drop schema if exists singer_mail cascade",
                    "checkpoint",
                ):
                    console.execute(statement.encode())

            def ours() -> None:
                report = mirrored.sync(120)
                assert report.totals.added == MESSAGES, report

            contestants = [
                Contestant(name="mailmirror", prepare=empty, run=ours),
                Contestant(name="dlt", prepare=empty, run=peers.dlt),
                Contestant(name="singer", prepare=empty, run=peers.singer),
            ]
            try:
                costs = compete(Meter(postgres.pid), contestants, rounds)
            finally:
                mirrored.close()
    details = {name: micros(taken, MESSAGES) for name, taken in costs.items()}
    ours_taken = costs["mailmirror"]
    return [
        _row("whole path against dlt merge", ratio(costs["dlt"], ours_taken), 7.5, 10.0, details),
        _row("whole path against target-postgres", ratio(costs["singer"], ours_taken), 3.0, 4.0),
    ]


def _row(what: str, value: Spread, must: float, aim: float, details: dict[str, Any] | None = None) -> Row:
    return Row(part="path", what=what, value=value, must=must, aim=aim, details=details or {})
