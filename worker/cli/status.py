"""`mailmirror status`: how each account stands."""

from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli import output, session
from worker.cli.accounts import NONE_YET, Json

if TYPE_CHECKING:
    from worker.store.status import AccountStatus


def status(
    account: Annotated[
        str | None, typer.Argument(metavar="ACCOUNT", help="An account's number or address; all without it.")
    ] = None,
    *,
    as_json: Json = False,
) -> int:
    """Show how far each account is mirrored, and what is open."""
    from worker.bootstrap import accounts, rotation  # loads the database layer
    from worker.bootstrap import status as standing

    with session.mirror() as mirror:
        if account is None:
            found = standing.fleet(mirror.engine)
        else:
            one = standing.one(mirror.engine, accounts.find(mirror.engine, account).id)
            found = [one] if one is not None else []
        waiting = standing.throttled(mirror.engine)
        missing = rotation.missing_keys(mirror.engine, mirror.keys)
    if as_json:
        output.document([_shown(each) for each in found])
    elif not found:
        output.note(NONE_YET)
    else:
        columns = ("account", "address", "status", "messages", "back to", "windows open", "problems", "last poll", "")
        output.table(columns, map(_row, found), right=("account", "messages", "windows open", "problems"))
    for kind, seconds, reason in [] if as_json else waiting:
        output.note(f"All {kind} accounts wait for {output.duration(seconds)}: {reason}")
    for sentence in missing:
        output.note(sentence)
    return output.DONE


def standing_in_words(account: "AccountStatus") -> str:
    """How complete the mirror is, in a few words."""
    if account.complete:
        return f"complete except {account.problems_with_mail:,}" if account.problems_with_mail else "complete"
    return f"back to {output.day(account.complete_to)}" if account.complete_to else "begins"


def _row(account: "AccountStatus") -> tuple[str, ...]:
    from worker.bootstrap import owners  # loads the database layer

    at_work = f"being worked on by {owners.shown(account.lease_owner)}" if account.lease_owner else ""
    reason = output.sentences(account.status_reason, account.to_do)
    held = f"{output.counted(account.held_deletes, 'deletion')} held" if account.held_deletes else ""
    confirm = f"{held}: mailmirror accounts confirm-deletes {account.id}" if held else ""
    remarks = "; ".join(filter(None, (reason, at_work, confirm)))
    return (
        str(account.id),
        account.address or "-",
        account.status,
        output.number(account.live),
        standing_in_words(account).removeprefix("back to "),
        output.number(account.windows_open),
        output.number(account.problems),
        output.ago(account.poll_age),
        remarks,
    )


def _shown(account: "AccountStatus") -> dict[str, object]:
    values = {name: getattr(account, name) for name in account.__struct_fields__}
    return {**values, "to_do": account.to_do, "complete": account.complete, "share": account.share}
