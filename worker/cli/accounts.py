"""`mailmirror accounts`: adding, listing, pausing, resuming and removing accounts, their tokens and held deletions."""

import sys
from getpass import getpass
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli import output, session
from worker.errors import CredentialRefusedError, UsageError

if TYPE_CHECKING:
    from worker.bootstrap import AccountRow

LARGEST_TOKEN = 64 * 1024

app = typer.Typer(help="Add, list and change the accounts that are mirrored.", no_args_is_help=True)

Account = Annotated[str, typer.Argument(metavar="ACCOUNT", help="The account's number or address.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
TokenOnStdin = Annotated[bool, typer.Option("--token-stdin", help="Read the token from standard input.")]
Text = str | None


@app.command()
def add(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="Where the mail is: kloudless.", show_default=False)],
    *,
    account_id: Annotated[
        Text,
        typer.Option(
            metavar="ID", help="The account's id upstream; needed with the app key, which serves all accounts."
        ),
    ] = None,
    token_stdin: TokenOnStdin = False,
    service: Annotated[Text, typer.Option(help="The mail service behind it, if the upstream names none.")] = None,
    address: Annotated[Text, typer.Option(help="The mailbox's address, if the upstream names none.")] = None,
    tenant: Annotated[str, typer.Option(help="Whose account it is, where several share this database.")] = "default",
    as_json: Json = False,
) -> int:
    """Add an account after asking the upstream whether its token is good."""
    with session.mirror() as mirror:
        token = _token() if token_stdin else None
        if token is None:
            _require_key(mirror.settings.kloudless_api_key, account_id)
        try:
            added = mirror.add_account(
                kind, upstream_id=account_id, token=token, service=service, address=address, tenant_id=tenant
            )
        except CredentialRefusedError as error:
            # What was given is wrong, and nothing is the matter with any account.
            raise UsageError(_of_a_new_one(output.advised(error))) from error
        _tell_of_key_file(mirror.keys.created_at_path)
    if as_json:
        output.document(_shown(added))
    else:
        output.say(f"Added account {added.label}. Mirror it: mailmirror sync {added.id}")
    return output.DONE


@app.command("list")
def list_all(*, as_json: Json = False) -> int:
    """List the accounts."""
    from worker.bootstrap import accounts  # loads the database layer

    with session.mirror() as mirror:
        found = accounts.list_all(mirror.engine)
    if as_json:
        output.document([_shown(account) for account in found])
    elif not found:
        output.note(NONE_YET)
    else:
        columns = ("account", "kind", "id upstream", "service", "address", "tenant", "status", "reason, and what to do")
        rows = [
            (
                str(a.id),
                a.kind,
                a.upstream_id,
                a.service or "-",
                a.address or "-",
                a.tenant_id,
                a.status,
                output.sentences(a.status_reason, a.to_do),
            )
            for a in found
        ]
        output.table(columns, rows, right=("account",))
    return output.DONE


@app.command()
def pause(account: Account) -> int:
    """Stop mirroring an account until it is resumed."""
    from worker.bootstrap import accounts  # loads the database layer

    with session.mirror() as mirror:
        found = accounts.find(mirror.engine, account)
        accounts.pause(mirror.engine, found.id)
    output.say(f"Account {found.label} is paused. Start it again: mailmirror accounts resume {found.id}")
    return output.DONE


@app.command()
def resume(account: Account) -> int:
    """Mirror an account again, from where it stopped."""
    from worker.bootstrap import accounts  # loads the database layer

    with session.mirror() as mirror:
        found = accounts.find(mirror.engine, account)
        accounts.resume(mirror.engine, found.id)
    output.say(f"Account {found.label} is mirrored again from where it stopped.")
    return output.DONE


@app.command()
def remove(
    account: Account,
    *,
    purge: Annotated[bool, typer.Option("--purge", help="Delete its mirrored mail, too.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> int:
    """Stop mirroring an account for good and forget its token; its mail stays unless --purge is given."""
    from worker.bootstrap import accounts  # loads the database layer

    with session.mirror() as mirror:
        found = accounts.find(mirror.engine, account)
        what = "and delete its mirrored mail" if purge else "and keep its mirrored mail"
        if not yes and not _agreed(f"Remove account {found.label} {what}?"):
            output.note("Nothing was removed.")
            return output.FAILED
        accounts.remove(mirror.engine, found.id, purge=purge)
    gone = "with its mail" if purge else "; its mail can still be queried"
    output.say(f"Account {found.label} is removed{' ' if purge else ''}{gone}.")
    return output.DONE


@app.command()
def token(account: Account, *, token_stdin: TokenOnStdin = False) -> int:
    """Give an account a new token, after asking the upstream whether it is good."""
    from worker.bootstrap import accounts  # loads the database layer

    with session.mirror() as mirror:
        found = accounts.find(mirror.engine, account)
        if not token_stdin and not sys.stdin.isatty():
            raise UsageError(f"Say where the token is: mailmirror accounts token {found.id} --token-stdin")
        try:
            mirror.set_token(found, _token())
        except CredentialRefusedError as error:
            raise CredentialRefusedError(_of_a_new_one(str(error)), scope=error.scope) from error
        _tell_of_key_file(mirror.keys.created_at_path)
    after = " It stays paused." if found.status == "paused" else ""
    output.say(f"Account {found.label} has its new token.{after}")
    return output.DONE


@app.command("confirm-deletes")
def confirm_deletes(account: Account, *, as_json: Json = False) -> int:
    """Ask the upstream again for each deletion that is held, and apply those it confirms."""
    from worker.bootstrap import accounts  # loads the database layer

    with session.mirror() as mirror:
        found = accounts.find(mirror.engine, account)
        confirmed = mirror.confirm_deletes(found.id)
    if as_json:
        output.document(confirmed)
    elif confirmed.deleted + confirmed.still_there + confirmed.undecided == 0:
        output.say(f"No deletion of account {found.label} is held.")
    else:
        left = f", {confirmed.undecided:,} could not be asked for and stay held" if confirmed.undecided else ""
        output.say(f"{confirmed.deleted:,} deleted, {confirmed.still_there:,} still there{left}.")
    return output.PROBLEMS if confirmed.undecided else output.DONE


NONE_YET = "There are no accounts yet. Add one: mailmirror accounts add kloudless --token-stdin"


def _token() -> str:
    """Read a token from standard input: a pipe's first line, or typed without an echo."""
    if sys.stdin is None or sys.stdin.closed:
        given = ""
    elif sys.stdin.isatty():
        given = getpass("Token: ")
    else:
        given = sys.stdin.readline(LARGEST_TOKEN)
    if not given.strip():
        raise UsageError("No token came on standard input. Pipe it in, as in: mailmirror … --token-stdin < token.txt")
    return given.strip()


def _require_key(api_key: str | None, account_id: str | None) -> None:
    if api_key is None:
        raise UsageError("Give the account's token with --token-stdin, or set MAILMIRROR_KLOUDLESS_API_KEY.")
    if account_id is None:
        raise UsageError("The app key does not say which account is meant. Give --account-id.")


def _tell_of_key_file(path: object) -> None:
    if path is not None:
        output.note(f"A key file to seal tokens with was made at {path}. Keep a copy of it: no token opens without it.")


def _of_a_new_one(sentence: str) -> str:
    """Say of a credential that was just given what is said of one that was good once."""
    return sentence.replace("no longer accepts the account's", "does not accept this").replace(
        "no longer accepts", "does not accept"
    )


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise UsageError(f"{question} Say so with --yes.")
    return typer.confirm(question, err=True)


def _shown(account: "AccountRow") -> dict[str, object]:
    """What people may see of an account."""
    names = ("id", "tenant_id", "kind", "service", "upstream_id", "address", "status", "status_reason")
    return {name: getattr(account, name) for name in (*names, "to_do", "created_at", "polled_at")}
