"""`mailmirror sandbox`: a local Kloudless Email API in the foreground, over generated mail or your own."""

import datetime as dt
import shlex
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer

from worker.cli import output
from worker.errors import UsageError

LISTED = 10
"""Accounts named one by one."""


def sandbox(
    *,
    mbox: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="Serve this mbox, mbox.gz, Maildir or tar.gz of .eml files; may be repeated."
        ),
    ] = None,
    one_account: Annotated[bool, typer.Option("--one-account", help="Put all files into one account.")] = False,
    accounts: Annotated[
        int | None, typer.Option(min=0, help="Accounts with generated mail (1, or none with --mbox).")
    ] = None,
    messages: Annotated[int, typer.Option(min=0, help="Messages in each generated account.")] = 1000,
    service: Annotated[
        list[str] | None, typer.Option(help="Mail service of the accounts, given out in turn (gmail); may be repeated.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same number makes the same mail; another one, other mail.")] = 1,
    days: Annotated[float, typer.Option(help="Days before now that generated mail is spread over.")] = 365.0,
    now: Annotated[dt.datetime | None, typer.Option(help="Where the sandbox's clock starts.")] = None,
    port: Annotated[int, typer.Option(help="Port on the loopback; 0 takes a free one.")] = 0,
    api_key: Annotated[str, typer.Option(help="The app-wide key it accepts.")] = "sandbox-api-key",
    live: Annotated[float, typer.Option(metavar="RATE", help="New mail, edits and deletions a second.")] = 0.0,
    unsubscribed: Annotated[
        bool,
        typer.Option("--unsubscribed", help="Begin without recorded changes: as if no one had asked for them yet."),
    ] = False,
    no_activity: Annotated[
        bool, typer.Option("--no-activity", help="Tell of no changes: mail can only be listed.")
    ] = False,
    paging: Annotated[Literal["keyset", "offset"], typer.Option(help="How pages follow each other.")] = "keyset",
    order: Annotated[Literal["newest", "shuffled"], typer.Option(help="Order within a listing.")] = "newest",
    list_lag: Annotated[float, typer.Option(metavar="SECONDS", help="Show new mail in lists this late.")] = 0.0,
    page_token_ttl: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Forget page tokens after this long.")
    ] = None,
    max_page_bytes: Annotated[int | None, typer.Option(help="End a page at this many bytes.")] = None,
    wild_dates: Annotated[
        bool, typer.Option("--wild-dates", help="Take dates as the mail gives them, even impossible ones.")
    ] = False,
    switch: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Set any other switch; may be repeated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON when it is ready.")] = False,
) -> int:
    """Serve a local Kloudless Email API until Ctrl-C, to try mailmirror on."""
    from worker.sandbox import SandboxError, SandboxOptions, Switches, serve  # loads a web server

    named: dict[str, object] = {
        "paging": paging,
        "order": order,
        "list_lag": list_lag,
        "page_token_ttl": page_token_ttl,
        "max_page_bytes": max_page_bytes,
        "wild_dates": wild_dates,
    }
    try:
        options = SandboxOptions(
            mailboxes=tuple(mbox or ()),
            one_account=one_account,
            accounts=accounts,
            messages=messages,
            services=tuple(service or ()) or ("gmail",),
            seed=seed,
            port=port,
            api_key=api_key,
            days=days,
            now=now,
            live=live,
            subscribed=not unsubscribed,
            activity=not no_activity,
            switches=Switches().changed({**named, **dict(map(_switch, switch or ()))}),
        )
        if mbox and not as_json:
            output.note("Reading the mail.")
        serve(options, _print_line if as_json else _introduce)
    except SandboxError as error:
        raise UsageError(str(error)) from error
    return output.DONE


def _switch(text: str) -> tuple[str, object]:
    """Read NAME=VALUE; the value is JSON where it can be, but four switches take text that looks like numbers."""
    from worker.sandbox import SandboxError, Switches  # loads a web server

    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"{text} is not NAME=VALUE. Give a switch as in --switch paging=offset.")
    known = Switches.__struct_fields__
    if name not in known:
        raise UsageError(f"There is no switch {name}. The switches are: {', '.join(sorted(known))}.")
    read: object = value
    if name not in {"after_ge_before", "cursor_expiry", "second_subscription", "folder_filter_elsewhere"}:
        with suppress(msgspec.DecodeError):
            read = msgspec.json.decode(value.encode())
    try:
        Switches().changed({name: read})
    except SandboxError as error:
        raise UsageError(f"The switch {name} cannot be {value or 'nothing'}. See: mailmirror sandbox --help") from error
    return name, read


def _print_line(facts: dict[str, object]) -> None:
    output.line(facts)


def _introduce(facts: dict[str, Any]) -> None:
    """Say how to mirror what is served: lines to paste into a shell."""
    accounts = facts["accounts"]
    total = sum(account["messages"] for account in accounts)
    output.say(
        f"The sandbox serves {output.counted(total, 'message')} in {output.counted(len(accounts), 'account')} "
        "until Ctrl-C. In another shell:\n"
    )
    output.say(f"export MAILMIRROR_KLOUDLESS_URL={shlex.quote(facts['url'])}")
    for account in accounts[:LISTED]:
        size = f"{account['messages']:,} messages"
        about = ", ".join(filter(None, (account["address"], account["service"], size)))
        command = f"{output.program()} accounts add kloudless --account-id {account['id']} --token-stdin"
        output.say(f"echo {shlex.quote(account['token'])} | {command}  # {about}")
    if len(accounts) > LISTED:
        key = f"export MAILMIRROR_KLOUDLESS_API_KEY={shlex.quote(facts['api_key'])}"
        output.say(f"# and {len(accounts) - LISTED:,} more: all of them with --json, or with the app key:\n{key}")
    output.say(f"{output.program()} sync")
    output.flush()
