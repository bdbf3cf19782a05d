"""`mailmirror verify`: proof that the mirror equals the mailbox, or the list of where it does not."""

import time
from typing import TYPE_CHECKING

from worker.cli import output, progress, session
from worker.cli.accounts import Account, Json
from worker.records import Difference

if TYPE_CHECKING:
    from worker.bootstrap import Verdict

MEANING = {
    "missing": "missing here",
    "stale": "different here",
    "extra": "only here",
}


def verify(account: Account, *, as_json: Json = False) -> int:
    """Compare an account's whole mailbox with its mirror, field by field, and change nothing."""
    from worker.bootstrap import accounts, status  # loads the database layer

    with session.mirror() as mirror, progress.watching(bar=True) as watch:
        found = accounts.find(mirror.engine, account)
        standing = status.one(mirror.engine, found.id)
        watch.begin(f"Account {found.id}", standing.live if standing is not None else None)
        began = time.monotonic()

        def observe(checked: int, differing: int) -> None:
            pace = output.rate(checked, time.monotonic() - began)
            watch.show(f"{checked:,} compared ({pace}), {differing:,} differ", checked)

        verdict = mirror.verify(found.id, observe)
        seconds = time.monotonic() - began
    if as_json:
        output.document(_shown(found.id, verdict, seconds))
    else:
        _tell(found.id, found.label, verdict, seconds)
    if verdict.equal:
        return output.DONE
    return output.PROBLEMS if verdict.equal_but_problems else output.FAILED


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
        output.say(f"To bring the mirror up to date: mailmirror sync {number}")
    if verdict.newer:
        output.say(f"{output.counted(verdict.newer, 'message')} arrived after the last poll; not compared.")
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
