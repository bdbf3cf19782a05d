"""`mailmirror verify`: proof that the mirror equals the mailbox, or the list of where it does not."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli import output, progress, session
from worker.cli.accounts import Account, Json
from worker.records import Difference

if TYPE_CHECKING:
    from worker.bootstrap import Mirror, Repaired, Verdict

MEANING = {
    "missing": "missing here",
    "stale": "different here",
    "extra": "only here",
}


Repair = Annotated[
    bool, typer.Option("--repair", help="Fetch and write what differs, and only that; then compare once more.")
]


def verify(account: Account, *, repair: Repair = False, as_json: Json = False) -> int:
    """Compare an account's whole mailbox with its mirror, field by field; without --repair nothing is changed."""
    from worker.bootstrap import accounts  # loads the database layer

    with session.mirror() as mirror, progress.watching(bar=True) as watch:
        found = accounts.find(mirror.engine, account)
        verdict, seconds = _compare(mirror, found.id, watch)
        done = None
        if repair and not verdict.equal:
            done = _repair(mirror, found.id, verdict, watch)
            verdict, seconds = _compare(mirror, found.id, watch)
    if as_json:
        output.document({**_shown(found.id, verdict, seconds), "repaired": done})
    else:
        _tell(found.id, found.label, verdict, seconds)
    if verdict.equal:
        return output.DONE
    return output.PROBLEMS if verdict.equal_but_problems else output.FAILED


def _compare(mirror: "Mirror", number: int, watch: progress.Watch) -> tuple["Verdict", float]:
    from worker.bootstrap import status  # loads the database layer

    standing = status.one(mirror.engine, number)
    watch.begin(f"Account {number}", standing.live if standing is not None else None)
    began = time.monotonic()

    def observe(checked: int, differing: int) -> None:
        pace = output.rate(checked, time.monotonic() - began)
        watch.show(f"{checked:,} compared ({pace}), {differing:,} differ", checked)

    return mirror.verify(number, observe), time.monotonic() - began


def _repair(mirror: "Mirror", number: int, verdict: "Verdict", watch: progress.Watch) -> "Repaired":
    """Say on the side what was repaired: what stands on stdout is the comparison after it."""
    differing = len(verdict.missing) + len(verdict.stale) + len(verdict.extra)
    watch.begin(f"Account {number}", differing)
    done = mirror.repair(number, verdict, lambda asked: watch.show(f"{asked:,} asked for again", asked))
    held = f", {done.held:,} deletions held" if done.held else ""
    later = f", {done.undecided:,} could not be read" if done.undecided else ""
    watch.remark(
        f"Account {number}: {output.counted(differing, 'message')} differed; "
        f"{done.written:,} written again, {done.deleted:,} deleted{held}{later}."
    )
    return done


def _tell(number: int, label: str, verdict: "Verdict", seconds: float) -> None:
    compared = f"{output.counted(verdict.checked, 'message')} compared in {output.duration(seconds)}"
    differing = len(verdict.missing) + len(verdict.stale) + len(verdict.extra)
    if verdict.equal:
        output.say(f"Account {label}: equal. {compared}; every field is the same.")
    else:
        differs = f"{output.counted(differing, 'message')} {'differs' if differing == 1 else 'differ'}"
        how = differs if differing else "not everything could be compared"
        output.say(f"Account {label}: {how}. {compared}.")
    for kind, meaning in MEANING.items():
        _tell_differences(meaning, getattr(verdict, kind))
    if verdict.excused:
        output.say(f"{verdict.excused:,} of them are open problems. See: mailmirror problems list {number}")
    if differing > verdict.excused:
        output.say(f"To repair the mirror: mailmirror verify {number} --repair")
    if verdict.newer:
        newer = output.counted(verdict.newer, "message")
        output.say(f"{newer} arrived after the last poll; not compared. To mirror them: mailmirror sync {number}")
    if verdict.unchecked:
        output.say(f"{len(verdict.unchecked):,} could not be compared:")
        _tell_some(verdict.unchecked)


def _tell_differences(meaning: str, found: tuple[Difference, ...]) -> None:
    if found:
        output.say(f"{len(found):,} {meaning}:")
        _tell_some(tuple(f"{d.message_id}  {', '.join(d.fields)}".rstrip() for d in found))


def _tell_some(lines: tuple[str, ...]) -> None:
    for line in lines[: output.SHOWN_IDS]:
        output.say(f"  {line}")
    if len(lines) > output.SHOWN_IDS:
        output.say(f"  and {len(lines) - output.SHOWN_IDS:,} more (all of them with --json)")


def _shown(number: int, verdict: "Verdict", seconds: float) -> dict[str, object]:
    return {
        "account": number,
        "equal": verdict.equal,
        "checked": verdict.checked,
        "missing": [d.message_id for d in verdict.missing],
        "stale": [{"message_id": d.message_id, "fields": d.fields} for d in verdict.stale],
        "extra": [d.message_id for d in verdict.extra],
        "excused": verdict.excused,
        "newer": verdict.newer,
        "unchecked": verdict.unchecked,
        "seconds": round(seconds, 3),
    }
