"""`mailmirror up`: everything on one machine, until Ctrl-C."""

import os
import select
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec.structs import replace

from worker.cli import output, session
from worker.config import HOSTED_URL, Settings
from worker.errors import MailmirrorError, StoreUnavailableError
from worker.local.folder import DATABASE_URL_FILE
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

    workers = (Workers("live", "live", live), Workers("backfill", "backfill", backfill))
    settings = _without_its_own(session.settings())
    try:
        with Stack(settings, workers=workers, tell=output.note) as stack:
            bootstrap.migrate(stack.settings)
            if not settings.database_url:
                bootstrap.apply_roles(stack.settings, login=True)
            # Workers read the keys once: they must be there before the first token is sealed.
            bootstrap.Mirror.open(stack.settings, make_keys=True).close()
            stack.start_workers()
            _introduce(stack, settings)
            _watch(stack)
    except KeyboardInterrupt:
        pass
    output.note(f"Stopped. The data stays in {settings.data.absolute()}.")
    return output.DONE


def _without_its_own(settings: Settings) -> Settings:
    """The settings without the address of the very database that `up` is about to start, as it told the last shell."""
    named = os.environ.get("DATABASE_URL_FILE")
    if named is None or Path(named).absolute() != (settings.data / DATABASE_URL_FILE).absolute():
        return settings
    return replace(settings, database_url=None)


def _introduce(stack: Stack, given: Settings) -> None:
    """Say where the data is, and what to type in another shell."""
    folder = stack.folder
    kept = [name for name, url in (("database", given.database_url), ("queue", given.redis_url)) if not url]
    if not given.keyring:
        kept.append("key file")
    output.say(f"mailmirror is up. Kept in {folder.path}: {', '.join([*kept, 'logs'])}.")
    for name in ("DATABASE_URL", "REDIS_URL"):
        if getattr(given, name.lower()):
            output.say(f"{name} was given and is used as it is.")
    output.say("\nIn another shell:")
    if not given.database_url:
        output.say(f"export DATABASE_URL_FILE={shlex.quote(str(folder.database_url_file))}")
    output.say(f"export MAILMIRROR_DATA={shlex.quote(str(folder.path))}")
    upstream = given.kloudless_url if given.kloudless_url != HOSTED_URL else "https://appliance.example/v1"
    output.say(f"export MAILMIRROR_KLOUDLESS_URL={shlex.quote(upstream)}")
    output.say(f"{output.program()} accounts add kloudless --token-stdin < token.txt")
    output.say(f"{output.program()} status")
    output.say(f"{output.program()} web")
    query = "SELECT created, subject FROM mail.live_messages ORDER BY created DESC LIMIT 10"
    url = "$DATABASE_URL" if given.database_url else '$(cat "$DATABASE_URL_FILE")'
    output.say(f'psql "{url}" -c "{query}"')
    output.say(f"\nWithout an upstream of your own: {output.program()} sandbox prints the lines to use.")
    output.say("Ctrl-C stops everything.")
    output.flush()


def _watch(stack: Stack) -> None:
    """Keep the stack up and print a status line now and then, until nobody reads any more."""
    line_at, said, said_at = time.monotonic() + FIRST_LINE, "", 0.0
    while not _reader_is_gone():
        stack.poll()
        now = time.monotonic()
        if now >= line_at:
            line = _standing(stack)
            # Counting a large mirror takes its time: most of it is left for the mirroring.
            line_at = now + max(LINE_EVERY, 20 * (time.monotonic() - now))
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
    waiting = sum(account.status in {"auth_required", "gone", "paused"} for account in accounts)
    parts = [
        output.counted(len(accounts), "account"),
        output.counted(sum(account.live or 0 for account in accounts), "message"),
        f"{complete:,} complete" if complete < len(accounts) else "all complete",
        output.counted(sum(account.problems for account in accounts), "open problem"),
        f"{waiting:,} paused or waiting for a person" if waiting else "",
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
