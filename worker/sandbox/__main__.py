"""`python -m worker.sandbox`: prints one line of JSON when it is ready, then serves until SIGTERM or SIGINT."""

import argparse
import datetime as dt
import json
import signal
import sys

from . import BadOption, SandboxError, SandboxOptions, Switches, serve


def main(argv: list[str] | None = None) -> int:
    """Run the sandbox; bad input is one sentence on stderr and exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m worker.sandbox", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (0: a free one)")
    parser.add_argument(
        "--mbox", action="append", default=[], metavar="FILE", help="mbox, mbox.gz, Maildir, tar.gz of .eml"
    )
    parser.add_argument("--one-account", action="store_true", help="all files in one account")
    parser.add_argument("--accounts", type=int, help="generated accounts (1, or none with --mbox)")
    parser.add_argument("--messages", type=int, default=1000, help="messages in each generated account")
    parser.add_argument("--service", action="append", default=[], help="given to the accounts in turn (gmail)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--days", type=float, default=365.0, help="span of generated mail before now")
    parser.add_argument("--until", type=dt.datetime.fromisoformat, help="end of generated mail (the start)")
    parser.add_argument("--now", type=dt.datetime.fromisoformat, help="where the sandbox clock starts")
    parser.add_argument("--live", type=float, default=0.0, metavar="RATE", help="changes per second by itself")
    parser.add_argument("--api-key", default="sandbox-api-key")
    parser.add_argument("--unsubscribed", action="store_true", help="no default subscription")
    parser.add_argument("--no-activity", action="store_true", help="a plan without the Activity API")
    parser.add_argument("--switch", action="append", default=[], metavar="NAME=VALUE", help="e.g. paging=offset")
    given = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        options = SandboxOptions(
            mailboxes=tuple(given.mbox),
            one_account=given.one_account,
            accounts=given.accounts,
            messages=given.messages,
            services=tuple(given.service) or ("gmail",),
            seed=given.seed,
            port=given.port,
            api_key=given.api_key,
            days=given.days,
            until=given.until,
            now=given.now,
            live=given.live,
            subscribed=not given.unsubscribed,
            activity=not given.no_activity,
            switches=Switches().changed(dict(map(_switch, given.switch))),
        )
        serve(options, _announce)
    except SandboxError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except KeyboardInterrupt:
        return 0
    return 0


def _announce(shown: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(shown) + "\n")
    sys.stdout.flush()


def _switch(text: str) -> tuple[str, object]:
    """Read NAME=VALUE; the value is JSON, or else text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise BadOption(f"{text} is not NAME=VALUE.")
    literal = name in ("after_ge_before", "cursor_expiry", "second_subscription", "folder_filter_elsewhere")
    try:
        return name, value if literal else json.loads(value)
    except ValueError:
        return name, value


if __name__ == "__main__":
    sys.exit(main())
