"""`mailmirror problems`: what could not be mirrored, why, and another try."""

from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli import output, session
from worker.cli.accounts import Json
from worker.errors import UsageError

if TYPE_CHECKING:
    from worker.store.problems import ProblemRow

EXCERPT = 2000
"""Bytes shown of what the upstream sent."""

app = typer.Typer(help="Show what could not be mirrored, and try it again.", no_args_is_help=True)


@app.command("list")
def list_all(
    account: Annotated[
        str | None, typer.Argument(metavar="ACCOUNT", help="An account's number or address; all without it.")
    ] = None,
    *,
    closed: Annotated[bool, typer.Option("--all", help="Show those put right since, too.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="Show at most this many, the latest first.")] = 100,
    as_json: Json = False,
) -> int:
    """List open problems, the latest first."""
    from worker.bootstrap import accounts, problems  # loads the database layer

    with session.mirror() as mirror:
        number = None if account is None else accounts.find(mirror.engine, account).id
        found = problems.listed(mirror.engine, number, closed=closed, limit=limit)
    if as_json:
        output.document([_facts(problem) for problem in found])
    elif not found:
        output.note("There are no problems." if closed else "There are no open problems.")
    else:
        columns = ("id", "account", "kind", "subject", "tries", "last seen", "again", "state", "cause")
        output.table(columns, map(_row, found), right=("id", "account", "tries"))
        if len(found) == limit:
            output.note(f"These are the latest {limit:,}. More: --limit")
    return output.DONE


@app.command()
def show(
    problem: Annotated[int, typer.Argument(metavar="ID", help="The problem's number.", show_default=False)],
    *,
    as_json: Json = False,
) -> int:
    """Show one problem with the beginning of what the upstream sent."""
    from worker.bootstrap import problems  # loads the database layer

    with session.mirror() as mirror:
        found = problems.show(mirror.engine, problem)
    excerpt = found.excerpt(EXCERPT)
    if as_json:
        output.document({**_facts(found), "excerpt": excerpt})
        return output.DONE
    for name, value in _facts(found).items():
        output.say(f"{name.replace('_', ' '):<14} {value if value is not None else '-'}")
    if excerpt:
        output.say(f"\nWhat the upstream sent:\n{excerpt}")
    return output.DONE


@app.command()
def retry(
    problem: Annotated[int | None, typer.Argument(metavar="ID", help="The problem's number; all without it.")] = None,
    *,
    account: Annotated[str | None, typer.Option(metavar="ACCOUNT", help="All open problems of this account.")] = None,
) -> int:
    """Make open problems due now, so that the next sync or worker tries them again."""
    from worker.bootstrap import accounts, problems  # loads the database layer

    if problem is not None and account is not None:
        raise UsageError("Give a problem's number or --account, not both.")
    with session.mirror() as mirror:
        number = None if account is None else accounts.find(mirror.engine, account).id
        count = problems.retry(mirror.engine, problem_id=problem, account_id=number)
    if count:
        output.say(f"{output.counted(count, 'problem')} {'is' if count == 1 else 'are'} due now: mailmirror sync")
    else:
        output.say("No open problem can be tried again.")
    return output.DONE


def _row(problem: "ProblemRow") -> tuple[str, ...]:
    return (
        str(problem.id),
        str(problem.account_id),
        problem.kind,
        problem.subject,
        output.number(problem.attempts),
        output.minute(problem.last_seen_at),
        output.minute(problem.not_before),
        problem.state,
        problem.cause,
    )


def _facts(problem: "ProblemRow") -> dict[str, object]:
    return {name: getattr(problem, name) for name in problem.__struct_fields__ if name != "raw"}
