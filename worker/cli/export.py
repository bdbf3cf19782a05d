"""`mailmirror export`: the mirror as files."""

import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from msgspec.structs import replace

from worker.cli import output, progress, session
from worker.cli.accounts import NONE_YET, Json
from worker.cli.interrupts import Interrupts
from worker.errors import MailmirrorError, StoreUnavailableError, UsageError

if TYPE_CHECKING:
    from worker.bootstrap import Mirror
    from worker.export import Manifest, Progress

LONGEST_NAME = 200
"""Bytes of a consumer's name."""


def export(
    *,
    kind: Annotated[
        Literal["parquet", "jsonl", "csv"], typer.Option("--format", help="What the files are.", show_default=False)
    ],
    to: Annotated[Path, typer.Option(metavar="DIR", help="The folder to make; new, or empty.", show_default=False)],
    account: Annotated[
        list[str] | None,
        typer.Option(metavar="ACCOUNT", help="An account's number or address; may be repeated. All without it."),
    ] = None,
    consumer: Annotated[
        str | None, typer.Option(metavar="NAME", help="Let this consumer of the change feed go on behind the export.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Write live mail as it stands at one moment into files, by account and month, while the mirror goes on."""
    if consumer is not None and not 1 <= len(consumer.encode()) <= LONGEST_NAME:
        raise UsageError(f"A consumer's name has 1 to {LONGEST_NAME} bytes.")
    if consumer is not None and account:
        raise UsageError("A consumer goes on behind an export of all accounts. Leave out --consumer, or --account.")
    began = time.monotonic()
    with Interrupts() as interrupts, session.mirror() as mirror, progress.watching(bar=True) as watch:
        chosen = _chosen(mirror, account)
        watch.begin("Export", _messages(mirror, chosen))
        try:
            with interrupts.running():
                manifest = _write(mirror, chosen, kind, to, watch, interrupts)
        except (KeyboardInterrupt, StoreUnavailableError):
            if not interrupts.asked:
                raise
            watch.remark(f"Interrupted. {to} was not made.")
            raise SystemExit(output.INTERRUPTED) from None
        if consumer is not None:
            try:
                manifest = _hand_over(mirror, manifest, consumer, to)
            except KeyboardInterrupt:
                watch.remark(f"Interrupted. {to} is whole; see how far {consumer} is: mailmirror changes --status")
                raise SystemExit(output.INTERRUPTED) from None
    if as_json:
        output.document(manifest)
    else:
        _tell(manifest, to, time.monotonic() - began)
    return output.DONE


def _write(
    mirror: "Mirror", chosen: list[int], kind: str, to: Path, watch: progress.Watch, interrupts: Interrupts
) -> "Manifest":
    """Export; an interrupt cancels the statement under way and begins no other, so that nothing ends in its middle."""
    from worker.export import export as write  # loads the database layer

    began = time.monotonic()
    cancels: list[Callable[[], None]] = []

    def observe(done: "Progress") -> None:
        interrupts.check()
        _show(watch, done, began)

    def stop(_sentence: str) -> None:
        for cancel in cancels:
            cancel()

    interrupts.tell = stop
    return write(mirror.engine, chosen, kind, to, observe=observe, remark=watch.remark, interruptible=cancels.append)


def _chosen(mirror: "Mirror", named: list[str] | None) -> list[int]:
    """Numbers of the accounts to export."""
    from worker.bootstrap import accounts  # loads the database layer

    if named:
        return sorted({accounts.find(mirror.engine, each).id for each in named})
    if found := accounts.list_all(mirror.engine):
        return [row.id for row in found]
    raise UsageError(NONE_YET)


def _messages(mirror: "Mirror", chosen: list[int]) -> int:
    """How many messages there are about, for the bar."""
    from worker.bootstrap import status  # loads the database layer

    if len(chosen) == 1:
        standing = [status.one(mirror.engine, chosen[0])]
    else:
        standing = [each for each in status.fleet(mirror.engine) if each.id in chosen]
    return sum(each.live or 0 for each in standing if each is not None)


def _show(watch: progress.Watch, done: "Progress", began: float) -> None:
    pace = output.rate(done.messages, time.monotonic() - began)
    where = f", account {done.account} of {done.accounts}" if done.accounts > 1 else ""
    watch.show(f"{output.counted(done.messages, 'message')} ({pace}){where}", done.messages)


def _hand_over(mirror: "Mirror", manifest: "Manifest", consumer: str, to: Path) -> "Manifest":
    from worker.store.export import hand_over

    try:
        hand_over(mirror.engine, consumer, manifest.feed.position)
    except MailmirrorError as error:
        message = f"{to} is whole, but {consumer} could not be told to go on behind it: {error}"
        raise MailmirrorError(message) from error
    return replace(manifest, feed=replace(manifest.feed, consumer=consumer))


def _tell(manifest: "Manifest", to: Path, seconds: float) -> None:
    tables = manifest.tables
    rows = ", ".join(f"{table.rows:,} {name.replace('_', ' ')}" for name, table in tables.items() if name != "accounts")
    accounts = output.counted(len(manifest.accounts), "account")
    output.say(f"{to}: {accounts} as of {output.minute(manifest.snapshot_at)}: {rows}.")
    files = output.counted(manifest.files, "file")
    output.say(f"{files}, {_size(manifest.bytes)}, in {output.duration(seconds)}. What is in them: {to}/manifest.json")
    if manifest.feed.consumer is not None:
        follow = f"mailmirror changes --consumer {shlex.quote(manifest.feed.consumer)} --jsonl"
        output.say(f"What changes from now on: {follow}")


def _size(size: int) -> str:
    """Bytes as people say them."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"
