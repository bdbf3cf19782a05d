"""The commands put together, and the one place where an error becomes a sentence and an exit code."""

import os
import re
import signal
import sys
import traceback
from collections.abc import Sequence

import typer
from typer.main import get_command

from worker.cli import (
    accounts,
    changes,
    demo,
    export,
    installation,
    keys,
    problems,
    roles,
    sandbox,
    status,
    streams,
    sync,
    up,
    verify,
    web,
)
from worker.cli.output import DONE, FAILED, INTERRUPTED, USAGE, advised, fail, note
from worker.config import as_given
from worker.errors import MailmirrorError, UsageError
from worker.local.errors import LocalError

DEBUG = "MAILMIRROR_DEBUG"

app = typer.Typer(
    name="mailmirror",
    help="Mirror mailboxes into Postgres, keep them current, and prove that the mirror is complete.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
app.command("up")(up.up)
app.command("migrate")(installation.migrate)
app.add_typer(accounts.app, name="accounts")
app.command("sync")(sync.sync)
app.command("status")(status.status)
app.command("verify")(verify.verify)
app.command("web")(web.web)
app.command("changes")(changes.changes)
app.command("export")(export.export)
app.add_typer(problems.app, name="problems")
app.add_typer(keys.app, name="keys")
app.add_typer(roles.app, name="roles")
app.command("sandbox")(sandbox.sandbox)
app.command("config")(installation.config)
app.command("version")(installation.version)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 usage, 3 finished with something left open."""
    outlet = streams.prepare() if argv is None else None
    if argv is None:
        # A polite kill and a closed terminal end a run as Ctrl-C does: the lease is given back, what was started ends.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
            signal.signal(signal.SIGHUP, signal.default_int_handler)
    code = _run(list(sys.argv[1:] if argv is None else argv))
    sys.stdout.flush()
    if outlet is not None and outlet.failure is not None:
        fail(f"What was asked for could not be printed in full: {outlet.failure.strerror}.")
        code = code or FAILED
    sys.exit(code)


def _run(argv: list[str]) -> int:
    try:
        code = get_command(app).main(args=argv, prog_name="mailmirror", standalone_mode=False)
    except typer.TyperException as error:
        return _misused(error)
    except UsageError as error:
        fail(as_given(_sentence(error)))
        return USAGE
    except MailmirrorError as error:
        fail(as_given(advised(error)))
        return FAILED
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception as error:  # noqa: BLE001  # the last resort: one line instead of a traceback
        return _unexpected(error)
    if code == INTERRUPTED:
        note("Interrupted. What was committed stays; run it again to go on.")
    return code if isinstance(code, int) else DONE


def _misused(error: typer.TyperException) -> int:
    """Say in one line what is wrong with the arguments."""
    context = getattr(error, "ctx", None)
    sentence = _in_our_words(error.format_message().strip())
    if not sentence:  # a group alone has shown its help already
        return USAGE
    path = context.command_path if context is not None else "mailmirror"
    fail(f"{sentence if sentence[-1] in '.?' else sentence + '.'} See: {path} --help")
    return USAGE


KINDS = {"integer": "a whole number", "number": "a number", "datetime": "a date and time, as in 2026-01-31T12:00"}


def _in_our_words(sentence: str) -> str:
    """Replace what a library says of a value by a sentence of ours."""
    found = re.fullmatch(r"Invalid value for (.+?): (?:Input should be|Value error,) (.+)", sentence, re.DOTALL)
    if found is None:
        return sentence
    name, said = found[1].strip("'"), found[2].rstrip(".")
    if kind := re.match(r"a valid (\w+)", said):
        said = KINDS.get(kind[1], f"a {kind[1]}")
    elif choice := re.fullmatch(r".* is not one of (.+)", said):
        said = f"one of {choice[1].replace(chr(39), '')}"
    for theirs, ours in (("greater than or equal to", "at least"), ("less than or equal to", "at most")):
        said = said.replace(theirs, ours)
    return f"{name} must be {said}."


def _sentence(error: UsageError) -> str:
    """The error as a sentence; what servers of this machine say begins small and has no end."""
    text = str(error)
    if not isinstance(error, LocalError):
        return text
    return f"{text[:1].upper() if not text.startswith('/') else text[:1]}{text[1:]}{'' if text.endswith('.') else '.'}"


def _unexpected(error: Exception) -> int:
    if os.environ.get(DEBUG):
        traceback.print_exc()
    else:
        fail(f"mailmirror stumbled over a {type(error).__name__}. To see where, run it again with {DEBUG}=1.")
    return FAILED
