"""`mailmirror up`: everything on one machine, until Ctrl-C."""

import os
import select
import signal
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli import output, session
from worker.errors import MailmirrorError, StoreUnavailableError
from worker.local.stack import Stack, Workers

if TYPE_CHECKING:
    from worker.store.status import AccountStatus

TICK = 0.5
FIRST_LINE = 5.0
LINE_EVERY = 15.0
SAY_AGAIN_AFTER = 600.0
"""Seconds after which a status line is printed though nothing has changed."""


def up(
    *,
    live: Annotated[int, typer.Option(min=1, help="Accounts whose changes are read at the same time.")] = 2,
    backfill: Annotated[int, typer.Option(min=1, help="Accounts whose history is read at the same time.")] = 2,
) -> int:
    """Run Postgres, Valkey, workers and the scheduler on this machine until Ctrl-C."""
    from worker import bootstrap  # loads the database layer

    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        # A closed terminal ends it in order, as Ctrl-C does.
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    workers = (Workers("live", "live", live), Workers("backfill", "backfill", backfill))
    stack = Stack(session.settings(), workers=workers, tell=output.note)
    try:
        with stack:
            bootstrap.migrate(stack.settings)
            stack.start_workers()
            _introduce(stack)
            _watch(stack)
    except KeyboardInterrupt:
        pass
    output.note(f"Stopped. The data stays in {stack.folder.path}.")
    return output.DONE


def _introduce(stack: Stack) -> None:
    """Say where the data is, and what to type in another shell."""
    given = session.settings()
    folder = stack.folder
    kept = [name for name, url in (("database", given.database_url), ("queue", given.redis_url)) if not url]
    output.say(f"mailmirror is up. {_listed([*kept, 'logs', 'key file'])} are kept in {folder.path}.")
    elsewhere = [name for name in ("DATABASE_URL", "REDIS_URL") if getattr(given, name.lower())]
    if elsewhere:
        output.say(f"{_listed(elsewhere)} was given and is used." if len(elsewhere) == 1 else "Both URLs are used.")
    output.say("\nIn another shell:")
    if not given.database_url:
        output.say(f"export DATABASE_URL_FILE={folder.database_url_file}")
    output.say(f"export MAILMIRROR_DATA={folder.path}")
    output.say("mailmirror accounts add kloudless --token-stdin < token.txt")
    query = "SELECT created, subject FROM mail.live_messages ORDER BY created DESC LIMIT 10"
    url = "$DATABASE_URL" if given.database_url else "$(cat $DATABASE_URL_FILE)"
    output.say(f'psql "{url}" -c "{query}"')
    output.say("\nCtrl-C stops everything.")
    output.flush()


def _listed(words: list[str]) -> str:
    sentence = f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]
    return sentence[0].upper() + sentence[1:]


def _watch(stack: Stack) -> None:
    """Keep the stack up and print a status line now and then, until nobody reads any more."""
    line_at, said, said_at = time.monotonic() + FIRST_LINE, "", 0.0
    while not _reader_is_gone():
        stack.poll()
        now = time.monotonic()
        if now >= line_at:
            line_at = now + LINE_EVERY
            line = _standing(stack)
            if line != said or now - said_at > SAY_AGAIN_AFTER:
                output.say(f"{time.strftime('%H:%M:%S')}  {line}")
                output.flush()
                said, said_at = line, now
        time.sleep(TICK)


def _standing(stack: Stack) -> str:
    from worker.bootstrap import Mirror, status  # loads the database layer

    try:
        mirror = Mirror.open(stack.settings)
    except MailmirrorError as error:
        return str(error)
    try:
        return summary(status.fleet(mirror.engine))
    except StoreUnavailableError as error:
        return str(error)
    finally:
        mirror.close()


def summary(accounts: "list[AccountStatus]") -> str:
    """All accounts in one line."""
    if not accounts:
        return "no accounts yet"
    complete = sum(account.complete for account in accounts)
    waiting = sum(account.status not in {"active", "degraded"} for account in accounts)
    parts = [
        output.counted(len(accounts), "account"),
        output.counted(sum(account.live or 0 for account in accounts), "message"),
        f"{complete:,} complete" if complete < len(accounts) else "all complete",
        output.counted(sum(account.problems for account in accounts), "open problem"),
        f"{waiting:,} waiting for you or paused" if waiting else "",
    ]
    return ", ".join(filter(None, parts))


def _reader_is_gone() -> bool:
    """Tell whether the other end of our output was closed: a pipe or a terminal that nobody reads."""
    ended = select.POLLERR | select.POLLHUP
    watch = select.poll()
    try:
        watch.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):  # closed on our side, or no real file
        return False
    return any(event & ended for _, event in watch.poll(0))
