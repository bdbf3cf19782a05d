"""`mailmirror changes`: the change feed, one JSON object a line."""

import shlex
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from worker.cli import output, progress, session, streams
from worker.cli.accounts import Json
from worker.cli.interrupts import Interrupts
from worker.errors import UsageError

if TYPE_CHECKING:
    from worker.bootstrap import Mirror
    from worker.store.feed import Change

MOST = 10_000
EVERY = 1.0
"""Seconds between two looks for something new."""

Text = str | None


def changes(
    *,
    consumer: Annotated[
        Text, typer.Option(metavar="NAME", help="Who reads; how far each has read is kept in the database.")
    ] = None,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="Print what changed, one JSON object a line.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until Ctrl-C, and look every second.")] = False,
    at_most: Annotated[int, typer.Option(min=1, max=MOST, help="Rows that are acknowledged together.")] = 500,
    no_acknowledge: Annotated[
        bool, typer.Option("--no-acknowledge", help="Do not note that the lines were read: they come again.")
    ] = False,
    acknowledge: Annotated[
        Text, typer.Option(metavar="POSITION", help="Note that all lines up to this position were dealt with.")
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Begin again, with everything there is.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Show how far each consumer has read.")] = False,
    new_epoch: Annotated[
        bool, typer.Option("--new-epoch", help="After a restore: let every consumer begin again.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Print what changed in the mirror since a consumer last read; see docs/feed.md."""
    from worker.bootstrap import feed  # loads the database layer

    reads = jsonl or restart or acknowledge is not None
    if new_epoch and (consumer is not None or reads or status):
        raise UsageError("--new-epoch concerns all consumers and goes alone: mailmirror changes --new-epoch")
    if status and reads:
        raise UsageError("--status only shows. Leave it out to read, to acknowledge or to begin again.")
    with session.mirror() as mirror:
        if new_epoch:
            return _new_epoch(mirror)
        if status:
            return _status(mirror, as_json=as_json)
        consumer = _named(consumer, reads=reads)
        if restart:
            feed.restart(mirror.engine, consumer)
            output.note(f"Consumer {consumer} begins again, with everything there is: its copy must be empty.")
        if acknowledge is not None and not feed.acknowledge(mirror.engine, consumer, acknowledge):
            output.note(f"Consumer {consumer} stands there or further already.")
        if jsonl:
            with Interrupts() as interrupts:
                _print(mirror, consumer, at_most, interrupts, follow=follow, note=not no_acknowledge)
    return output.DONE


def _named(consumer: Text, *, reads: bool) -> str:
    """The consumer, when there is one to read for; raises UsageError otherwise."""
    if consumer is None:
        raise UsageError("Name the consumer, as in: mailmirror changes --consumer NAME --jsonl")
    if not consumer.isprintable():
        raise UsageError("A consumer's name is made of characters that can be printed.")
    if not reads:
        raise UsageError(f"Say how to print it: mailmirror changes --consumer {shlex.quote(consumer)} --jsonl")
    return consumer


def _print(mirror: "Mirror", consumer: str, at_most: int, interrupts: Interrupts, *, follow: bool, note: bool) -> None:
    """Print page after page; a page is acknowledged when all of it has left this process."""
    from worker.bootstrap import feed  # loads the database layer

    if streams.unread():
        raise UsageError("stdout is closed: nothing can be printed.")
    after = None
    while True:
        with interrupts.running():
            page = feed.changes(mirror.engine, consumer, at_most, after)
            for change in page:
                interrupts.check()
                sys.stdout.write(_line(change))
            output.flush()
            if streams.unread():
                return
            if page and note:
                feed.acknowledge(mirror.engine, consumer, page[-1].position)
            elif page:
                after = page[-1].position
        interrupts.check()
        if not page and not (follow and streams.wait(EVERY)):
            return


def _line(change: "Change") -> str:
    values = {name: getattr(change, name) for name in change.__struct_fields__}
    return msgspec.json.encode({**values, "state": msgspec.Raw(change.state.encode())}).decode() + "\n"


def _again(consumer: str) -> str:
    return f"mailmirror changes --consumer {shlex.quote(consumer)} --restart"


def _new_epoch(mirror: "Mirror") -> int:
    from worker.bootstrap import feed  # loads the database layer

    with progress.watching() as watch:
        watch.begin("Rows from another server", None)
        moved = feed.new_epoch(mirror.engine, lambda rows: watch.show(f"{rows:,} put in their place", rows))
    output.say(f"A new epoch has begun; {output.counted(moved, 'row')} from another server got a place in it.")
    for each in feed.standings(mirror.engine):
        if not each.current:
            output.say(f"Let {each.consumer} begin again: {_again(each.consumer)}")
    return output.DONE


def _status(mirror: "Mirror", *, as_json: bool) -> int:
    from worker.bootstrap import feed  # loads the database layer

    found, horizon = feed.standings(mirror.engine), feed.horizon(mirror.engine)
    if as_json:
        output.document({"consumers": found, "horizon": horizon})
        return output.DONE
    if not found:
        output.note("Nobody has read the change feed yet. Read it: mailmirror changes --consumer NAME --jsonl")
    else:
        columns = ("consumer", "user", "waiting", "since", "acknowledged", "")
        now = datetime.now(UTC)
        rows = [
            (
                each.consumer,
                each.login,
                output.number(each.waiting),
                output.ago(now - each.waiting_since) if each.waiting_since else "-",
                output.ago(now - each.acknowledged_at if each.acknowledged_at else None),
                "" if each.current else f"must begin again: {_again(each.consumer)}",
            )
            for each in found
        ]
        output.table(columns, rows, right=("waiting",))
    if horizon.held_by and horizon.waiting_seconds is not None:
        waiting = output.ago(timedelta(seconds=horizon.waiting_seconds)).removesuffix(" ago")
        process = f" (process {horizon.held_by_pid})" if horizon.held_by_pid else ""
        output.note(f"Held back for {waiting} by an open transaction: {horizon.held_by}{process}")
    return output.DONE
