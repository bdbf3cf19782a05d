"""`mailmirror keys`: the keys that tokens are sealed with, a new one, and sealing everything with it."""

from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli import output, progress, session
from worker.cli.accounts import Json

if TYPE_CHECKING:
    from worker.store.rotation import KeyUse, Rotated

SHOWN_ACCOUNTS = 20

app = typer.Typer(help="Show and change the keys that tokens are sealed with.", no_args_is_help=True)


@app.command("list")
def list_all(*, as_json: Json = False) -> int:
    """List the keys by name, and how many tokens each seals; exit code 3 when one in use is not in the ring."""
    from worker.bootstrap import rotation  # loads the database layer

    with session.mirror() as mirror:
        uses = rotation.key_uses(mirror.engine, mirror.keys)
        missing = rotation.missing_keys(mirror.engine, mirror.keys)
    if as_json:
        output.document([{**_facts(use), "needed": _needed(use)} for use in uses])
    elif not uses:
        output.note("There is no key yet; the first account with a token makes one. Or: mailmirror keys make")
    else:
        rows = [(use.key_id, output.number(use.tokens), _remark(use)) for use in uses]
        output.table(("key", "tokens", ""), rows, right=("tokens",))
    for sentence in missing:
        output.note(sentence)
    return output.PROBLEMS if missing else output.DONE


@app.command()
def make() -> int:
    """Print a new key as name:key, to be put first in the key ring. Nothing else is changed."""
    from worker.bootstrap import credentials  # loads the database layer

    settings = session.settings()
    place = "MAILMIRROR_KEYRING" if settings.keyring else f"MAILMIRROR_KEYRING, or in {settings.data / 'keyring'}"
    output.say(credentials.new_key())
    output.note(
        f"Put it first in {place}, and leave the other keys behind it. Restart workers that were given the keys in "
        "their environment. Then seal all tokens with it: mailmirror keys rotate"
    )
    return output.DONE


@app.command()
def rotate(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")] = False,
    as_json: Json = False,
) -> int:
    """Seal every token anew that is not sealed with the first key; safe while workers run, and to be repeated."""
    from worker.bootstrap import rotation  # loads the database layer

    with session.mirror() as mirror, progress.watching() as watch:
        watch.begin("Keys", None)
        done = rotation.rotate(
            mirror.engine, mirror.keys, dry_run=dry_run, observe=lambda count: watch.show(f"{count:,} re-sealed", count)
        )
        first = mirror.keys.names[0]
    if as_json:
        output.document(
            {
                "key": first,
                "dry_run": dry_run,
                "resealed": done.resealed,
                "right": done.right,
                "overtaken": done.overtaken,
                "unopened": done.unopened,
            }
        )
    else:
        verb = "would be sealed" if dry_run else "sealed"
        output.say(f"{output.counted(done.resealed, 'token')} {verb} with {first} anew, {done.right:,} already right.")
    for sentence in _left(done):
        output.note(sentence)
    return output.PROBLEMS if done.unopened or done.overtaken else output.DONE


def _left(done: "Rotated") -> list[str]:
    """What a person must do after a rotation, a sentence each."""
    left = []
    if done.unopened:
        accounts = sorted({token.account_id for token in done.unopened})
        shown = ", ".join(map(str, accounts[:SHOWN_ACCOUNTS])) + (", …" if len(accounts) > SHOWN_ACCOUNTS else "")
        names = ", ".join(sorted({token.key_id for token in done.unopened}))
        left.append(
            f"No key opens the {'token' if len(accounts) == 1 else 'tokens'} of "
            f"{'account' if len(accounts) == 1 else 'accounts'} {shown} (sealed with {names}): put the right key into "
            "MAILMIRROR_KEYRING and rotate again, or set each token again: mailmirror accounts token N --token-stdin"
        )
    if done.overtaken:
        left.append(
            f"{output.counted(done.overtaken, 'token')} were set with another first key meanwhile: give every process "
            "the same MAILMIRROR_KEYRING and rotate again."
        )
    return left


def _needed(use: "KeyUse") -> bool:
    return use.seals or use.tokens > 0


def _remark(use: "KeyUse") -> str:
    if not use.in_ring:
        return "not in the key ring"
    if use.seals:
        return "seals"
    return "opens" if use.tokens else "no longer needed: may be taken out of MAILMIRROR_KEYRING"


def _facts(use: "KeyUse") -> dict[str, object]:
    return {name: getattr(use, name) for name in use.__struct_fields__}
