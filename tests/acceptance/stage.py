"""What an acceptance test acts on: a sandbox in a process of its own, mailboxes in it, and mirrors of them."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from tests.conftest import as_superuser
from tests.truth import Report, differences
from worker.bootstrap import Mirror
from worker.bootstrap import Report as RunReport
from worker.config import Settings
from worker.errors import MailmirrorError
from worker.store import accounts
from worker.sync.verify import Verdict

ROOT = Path(__file__).resolve().parents[2]
Json = dict[str, Any]


@dataclass(frozen=True)
class Upstream:
    """A running sandbox, seen through its admin API."""

    url: str
    admin_url: str
    accounts: tuple[Json, ...]

    def post(self, where: str, /, **body: Any) -> Json:
        """Send a JSON object to the admin API."""
        return self._call(urllib.request.Request(self.admin_url + where, json.dumps(body).encode()))

    def get(self, path: str) -> Json:
        """Read from the admin API."""
        return self._call(urllib.request.Request(self.admin_url + path))

    def mailbox(self, messages: int = 0, service: str = "gmail", **more: Any) -> "Mailbox":
        """Add an account with generated mail."""
        switches = more.pop("switches", {})
        made = self.post("/accounts", service=service, messages=messages, **more)
        box = Mailbox(self, made["id"], made["token"], service)
        if switches:
            box.switch(**switches)
        return box

    def served(self) -> list["Mailbox"]:
        """The mailboxes the sandbox was started with, in order."""
        return [Mailbox(self, a["id"], a["token"], a["service"]) for a in self.accounts]

    def _call(self, request: urllib.request.Request) -> Json:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=120) as answer:
                found: Json = json.loads(answer.read())
                return found
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{request.full_url}: {error.read().decode()}") from None


@contextmanager
def upstream(*arguments: str, module: str = "worker.sandbox") -> Iterator[Upstream]:
    """Run a sandbox for the length of a with block; `tests.canary` runs one whose secrets are marked."""
    command = [sys.executable, "-m", module, "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, f"the sandbox did not start: {command}"
            shown = json.loads(line)
            yield Upstream(shown["url"], shown["admin"], tuple(shown["accounts"]))
        finally:
            process.terminate()
            process.wait(30)


@dataclass(frozen=True)
class Mailbox:
    """One account of the sandbox, as its owner and as the world act on it."""

    upstream: Upstream
    id: int
    token: str
    service: str

    def do(self, verb: str, **body: Any) -> list[str]:
        """Change mail (deliver, relabel, move, delete, rename, churn); returns the ids it was about."""
        return list(self.upstream.post(f"/accounts/{self.id}/{verb}", **body).get("message_ids", []))

    def deliver(self, count: int = 1, **more: Any) -> list[str]:
        """Let mail arrive, with `created` as late mail."""
        return self.do("deliver", count=count, **more)

    def delete(self, **select: Any) -> list[str]:
        """Delete the selected messages for good."""
        return self.do("delete", **select)

    def churn(self, changes: int, seed: int) -> None:
        """Change the mailbox at random, the same for the same seed."""
        self.do("churn", changes=changes, seed=seed)

    def switch(self, **switches: Any) -> None:
        """Change how the API behaves for this account."""
        self.upstream.post("/switches", account=self.id, **switches)

    def set(self, **state: Any) -> None:
        """Change the account itself: activity, broken, removed, token."""
        self.upstream.post(f"/accounts/{self.id}", **state)

    def arm(self, kind: str, **fault: Any) -> None:
        """Let requests for this account meet a fault."""
        self.upstream.post("/faults", kind=kind, account=self.id, **fault)

    def calm(self) -> None:
        """Disarm all faults (of every account)."""
        self.upstream.post("/faults/clear")

    def fired(self, kind: str) -> int:
        """How often a fault of this kind fired in the sandbox."""
        return int(self.upstream.get("/faults")["fired"].get(kind, 0))

    def requests(self, after: int = 0) -> list[Json]:
        """The requests for this account with a number above `after`."""
        return list(self.upstream.get(f"/requests?account={self.id}&after={after}")["objects"])

    def last_request(self) -> int:
        """The number of the newest request of all."""
        return int(self.upstream.get("/counters")["requests"])

    def shown(self) -> list[Json]:
        """Every live message as the API shows it, newest first."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self.upstream.admin_url}/accounts/{self.id}/truth", timeout=120) as answer:
            return [json.loads(line) for line in answer][1:]

    def ids(self) -> list[str]:
        """Ids of every live message, newest first."""
        return [one["id"] for one in self.shown()]


def settings_for(database_url: str, upstream_url: str, data: Path, **more: Any) -> Settings:
    """Settings as the environment would give them."""
    return Settings(database_url=database_url, kloudless_url=upstream_url, data=data, **more)


class Mirrored:
    """One mailbox and its mirror in Postgres."""

    def __init__(
        self, database_url: str, box: Mailbox, data: Path, *, tenant: str = "default", **settings: Any
    ) -> None:
        self.database_url = database_url
        self.plain_url = as_superuser(database_url)
        """For the test's own acts: it moves the clock and tampers with rows."""
        self.box = box
        self.settings = settings_for(database_url, box.upstream.url, data, **settings)
        self.mirror = Mirror.open(self.settings, make_keys=True)
        self.id = accounts.add(
            self.mirror.engine,
            kind="kloudless",
            upstream_id=str(box.id),
            service=box.service,
            tenant_id=tenant,
            token=box.token,
            keys=self.mirror.keys,
        ).id

    def environment(self) -> dict[str, str]:
        """What a process of its own needs in its environment to work on the same mirror."""
        return {
            "DATABASE_URL": self.database_url,
            "MAILMIRROR_KLOUDLESS_URL": self.settings.kloudless_url,
            "MAILMIRROR_DATA": str(self.settings.data),
        }

    def close(self) -> None:
        """Close the connections."""
        self.mirror.close()

    def sync(self, patience: float = 15.0) -> RunReport:
        """Run to quiescence; a run that never gets there is ended, so that its test fails and does not hang."""
        until = time.monotonic() + patience
        return self.mirror.sync(self.id, stop=lambda: time.monotonic() > until)

    def sync_a_little(self, looks: int) -> RunReport:
        """Run until the engine has asked `looks` times whether it should stop."""
        answers = iter(range(looks))
        return self.mirror.sync(self.id, stop=lambda: next(answers, None) is None)

    def with_settings(self, **settings: Any) -> None:
        """Go on with other settings, as after a restart."""
        self.mirror.close()
        self.settings = settings_for(self.database_url, self.box.upstream.url, self.settings.data, **settings)
        self.mirror = Mirror.open(self.settings)

    def try_to_sync(self) -> MailmirrorError | None:
        """Run to quiescence; returns the error that ended the run, if one did."""
        try:
            self.sync()
        except MailmirrorError as error:
            return error
        return None

    def verify(self) -> Verdict:
        """Let the mirror judge itself."""
        return self.mirror.verify(self.id, lambda *_: None)

    def truth(self) -> Report:
        """Let the judge compare."""
        return differences(
            self.plain_url,
            self.box.upstream.admin_url,
            self.box.id,
            self.id,
            bodies=self.settings.bodies,
            max_body=self.settings.max_body,
        )

    def must_be_equal(self) -> Report:
        """Fail with the judge's words unless mirror and mailbox are the same."""
        report = self.truth()
        assert report.equal, f"\n{report}"
        return report

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run SQL of the test's own in its own session; rows where there are any."""
        with psycopg.connect(self.plain_url, autocommit=True) as connection:
            found = connection.execute(statement.encode(), values or None)
            return found.fetchall() if found.description else []

    def one(self, statement: str, *values: object) -> Any:
        """The first value of the first row."""
        return self.sql(statement, *values)[0][0]

    def live(self) -> set[str]:
        """Ids of live messages in the mirror."""
        return self._ids("deleted_at is null")

    def tombstones(self) -> set[str]:
        """Ids of tombstones in the mirror."""
        return self._ids("deleted_at is not null")

    def _ids(self, condition: str) -> set[str]:
        found = self.sql(f"select message_id from mail.messages where account_id = %s and {condition}", self.id)
        return {row[0] for row in found}

    def problems(self, state: str = "open") -> list[tuple[str, str]]:
        """Kind and subject of problems in this state."""
        found = self.sql("select kind, subject from sync.problems where account_id = %s and state = %s order by 1, 2",
                         self.id, state)  # fmt: skip
        return [(kind, subject) for kind, subject in found]

    def walk_again(self) -> None:
        """Make every finished window due, as if its day had come."""
        self.sql("update sync.windows set next_walk_at = sync.now() where account_id = %s and state <> 'open'", self.id)

    def retry_now(self) -> None:
        """Make every open problem that is tried again by itself due, as if it were a quarter of an hour old."""
        self.sql("update sync.problems set not_before = sync.now(), first_seen_at = first_seen_at - interval"
                 " '15 minutes' where account_id = %s and state = 'open'"
                 " and not_before is not null", self.id)  # fmt: skip

    def flush(self) -> None:
        """Close the mirror's connections and wait until Postgres has counted what they did."""
        self.mirror.engine.dispose()
        others = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        while self.one(others):
            time.sleep(0.01)

    def versions(self) -> dict[str, tuple[int, str]]:
        """Rows of each table of schema mail, and a digest of the transactions that wrote them and of their places."""
        tables = [name for (name,) in self.sql(
            "select relname from pg_stat_user_tables where schemaname = 'mail' order by 1")]  # fmt: skip
        marks = "select count(*), md5(coalesce(string_agg(xmin::text || ctid::text, ',' order by ctid), '')) from mail."
        return {name: (int(row[0]), str(row[1])) for name in tables for row in self.sql(marks + name)}

    def written(self) -> dict[str, int]:
        """Rows ever written to each table of schema mail, from Postgres' own counters."""
        self.flush()
        rows = self.sql("select relname, n_tup_ins + n_tup_upd + n_tup_del from pg_stat_user_tables"
                        " where schemaname = 'mail'")  # fmt: skip
        return dict(rows)
