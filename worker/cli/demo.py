"""`mailmirror demo`: the whole story on one machine, told while it happens; nothing is left running or lying about.

A sandbox serves mailboxes that keep changing; real Postgres, Valkey, Celery workers and beat mirror them; the upstream
fails for a while, a worker process is killed; at the end the mirror is proven equal, and asked three questions.
"""

import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from worker.cli import output, progress, session
from worker.cli.pulse import Pulse
from worker.config import Settings
from worker.errors import UsageError
from worker.local.errors import LocalError
from worker.local.stack import Stack
from worker.sandbox import Sandbox, SandboxError, SandboxOptions, running

if TYPE_CHECKING:
    from worker.bootstrap import Mirror

TENANT = "demo"
TICK = 0.4
NAMED = 3
CHANGES_PER_TICK = 1
HISTORY_LIMIT = 300.0
"""Seconds after which a demo gives up waiting for the history, or for quiet at the end."""

Files = Annotated[
    list[Path] | None, typer.Option("--mbox", help="A mailbox file to serve: mbox, mbox.gz, Maildir, .tar.gz of .eml.")
]
COUNTS = frozenset({"received", "sent", "ours", "theirs"})
"""Columns of the queries that are numbers."""


def demo(
    *,
    mbox: Files = None,
    accounts: Annotated[int | None, typer.Option(min=1, help="Generated mailboxes (3, or none with --mbox).")] = None,
    messages: Annotated[int, typer.Option(min=1, help="Messages in each generated mailbox.")] = 4000,
    seconds: Annotated[float, typer.Option(min=4, help="How long the mailboxes keep changing.")] = 12.0,
    seed: Annotated[int, typer.Option(help="Another number makes other mail and other changes.")] = 1,
) -> int:
    """Mirror mailboxes that keep changing, on servers of its own, prove the mirror equal, and query it."""
    began = time.monotonic()
    options = SandboxOptions(
        mailboxes=tuple(mbox or ()),
        accounts=accounts if accounts is not None or mbox else 3,
        messages=messages,
        services=("gmail", "outlook_email", "gmail"),
        seed=seed,
    )
    given = session.settings()
    try:
        with running(options) as sandbox:
            settings = _settings(given, sandbox)
            with Stack(settings, keep=False, tell=output.note, patience=5.0) as stack:
                return _Story(stack, sandbox, seconds=seconds, seed=seed, began=began).tell(
                    own_database=not settings.database_url
                )
    except SandboxError as error:
        raise UsageError(str(error)) from error


def _settings(given: Settings, sandbox: Sandbox) -> Settings:
    """The person's settings, quickened: a demo has no minutes to wait."""
    return msgspec.structs.replace(
        given,
        kloudless_url=sandbox.url,
        kloudless_api_key=None,
        keyring=None,
        poll_seconds=1.0,
        poll_slowest=2.0,
        dispatch_seconds=0.5,
        slice_seconds=10.0,
        back_off=2.0,
    )


class _Story:
    """One demo from the first table to the last query."""

    def __init__(self, stack: Stack, sandbox: Sandbox, *, seconds: float, seed: int, began: float) -> None:
        self._stack = stack
        self._sandbox = sandbox
        self._seconds = seconds
        self._chance = random.Random(seed)  # a story, not a secret
        self._began = began

    def tell(self, *, own_database: bool) -> int:
        """Run it; the exit code says whether the mirror was proven equal."""
        from worker import bootstrap, web  # load the database layer

        settings = self._stack.settings
        bootstrap.migrate(settings)
        if own_database:
            bootstrap.apply_roles(settings, login=True)
        mirror = bootstrap.Mirror.open(settings, make_keys=True)
        if bootstrap.accounts.list_all(mirror.engine):
            mirror.close()
            message = "The database in DATABASE_URL holds accounts already, and a demo would get in their way. "
            raise UsageError(message + "Unset DATABASE_URL, and the demo brings its own.")
        ours = self._add_accounts(mirror)
        try:
            with web.serving(settings) as page:
                self._introduce("its own" if own_database else "the given", page)
                self._stack.start_workers()
                return self._watch(mirror, ours)
        finally:
            if not own_database:
                self._remove(mirror, ours)
            mirror.close()

    def _add_accounts(self, mirror: "Mirror") -> dict[int, int]:
        ours = {}
        for found in self._served():
            account = mirror.add_account(
                "kloudless", upstream_id=str(found["id"]), token=found["token"], tenant_id=TENANT
            )
            ours[account.id] = found["id"]
        return ours

    def _served(self) -> list[dict[str, Any]]:
        """The sandbox's accounts as it describes them."""
        described: Any = self._sandbox.describe()
        return list(described["accounts"])

    def _introduce(self, whose: str, page: str) -> None:
        served = self._served()
        total = sum(account["messages"] for account in served)
        names = ", ".join(account["address"] for account in served[:NAMED])
        more = f" and {len(served) - NAMED} more" if len(served) > NAMED else ""
        output.say(f"Upstream: {output.counted(total, 'message')} of {names}{more}.")
        output.say(f"Postgres ({whose}) is migrated; Celery workers and beat are starting.")
        output.say(f"How the accounts stand, as long as this runs: {page}")
        output.flush()

    def _watch(self, mirror: "Mirror", ours: dict[int, int]) -> int:
        pulse = Pulse(mirror, self._sandbox, ours)
        with progress.watching() as watch:
            watch.begin("Demo")
            self._let_change(pulse, watch)
            quiet = self._await_quiet(pulse, watch)
        self._summarise(pulse)
        equal = self._prove(mirror, ours) and quiet
        self._ask(mirror)
        output.say(f"\nThe page of a mirror that stays: {output.program()} web (http://127.0.0.1:8025/).")
        output.say(f"Done in {output.duration(time.monotonic() - self._began)}.")
        return output.DONE if equal else output.FAILED

    def _let_change(self, pulse: Pulse, watch: progress.Watch) -> None:
        """Change the mailboxes all the time; on the way the upstream fails, and a worker process dies."""
        acts = [(0.35, self._fail_upstream), (0.7, self._kill_child)]
        start = time.monotonic()
        while (passed := time.monotonic() - start) < self._seconds or not (pulse.complete or passed > HISTORY_LIMIT):
            self._change()
            self._tick(pulse, watch)
            while acts and passed >= acts[0][0] * self._seconds:
                _, act = acts.pop(0)
                watch.remark(act(pulse))
            time.sleep(TICK)

    def _change(self) -> None:
        account = self._chance.choice(self._sandbox.account_ids)
        body = {"changes": CHANGES_PER_TICK, "seed": self._chance.randrange(1 << 30)}
        self._sandbox.admin(f"/accounts/{account}/churn", body)

    def _tick(self, pulse: Pulse, watch: progress.Watch) -> None:
        self._stack.poll()
        pulse.take()
        watch.show(pulse.line())

    def _fail_upstream(self, _pulse: Pulse) -> str:
        fault = {"kind": "server_error", "count": 3, "args": {"status": 503, "error_code": "service_not_available"}}
        self._sandbox.admin("/faults", fault)
        return "The upstream now answers 503 a few times: accounts it hits back off and come again by themselves."

    def _kill_child(self, _pulse: Pulse) -> str:
        try:
            pid = self._stack.kill_worker_child()
        except LocalError:
            return "No worker process to kill yet; the story goes on without."
        return f"Worker process {pid} was just killed (SIGKILL): what it had not committed is done again."

    def _await_quiet(self, pulse: Pulse, watch: progress.Watch) -> bool:
        """The mailboxes rest now; wait until every account was polled after their last change."""
        self._sandbox.admin("/faults/clear", {})
        rested = time.time()
        watch.remark("The mailboxes rest; the mirror catches up.")
        while time.time() - rested < HISTORY_LIMIT:
            self._tick(pulse, watch)
            fresh = all(s.polled_at and s.polled_at.timestamp() > rested for s in pulse.standing)
            if pulse.complete and fresh and not pulse.problems:
                return True
            time.sleep(TICK)
        output.say("The mirror did not come to rest in time.")
        return False

    def _summarise(self, pulse: Pulse) -> None:
        middle, most = pulse.lag(0.5), pulse.lag(0.95)
        lag = f" A new message was a row after {middle:.1f} s (median), {most:.1f} s (95 %)." if middle and most else ""
        output.say(f"\nMirrored: {output.counted(pulse.messages, 'message')}, {pulse.changes:,} changes seen.{lag}")

    def _prove(self, mirror: "Mirror", ours: dict[int, int]) -> bool:
        equal = True
        for account_id in ours:
            verdict = mirror.verify(account_id, lambda _checked, _found: None)
            equal = equal and verdict.equal
            words = "equal, field by field" if verdict.equal else "NOT equal"
            output.say(f"verify {account_id}: {output.counted(verdict.checked, 'message')} compared: {words}.")
        return equal

    def _ask(self, mirror: "Mirror") -> None:
        from worker.bootstrap import showcase  # loads the database layer

        showcase.gather_statistics(self._stack.settings.require_owner())
        for query in showcase.QUERIES:
            found = showcase.answer(mirror.engine, query)
            output.say(f"\n{query.question}")
            cells = [[str(value) if value is not None else "" for value in row] for row in found.rows]
            output.table(found.columns, cells, right=[c for c in found.columns if c in COUNTS])

    def _remove(self, mirror: "Mirror", ours: dict[int, int]) -> None:
        from worker.bootstrap import accounts  # loads the database layer

        for account_id in ours:
            accounts.remove(mirror.engine, account_id, purge=True)
