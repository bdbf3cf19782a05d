"""Random changes of a mailbox: a fixed mix of deliveries, late mail, relabelling, moves and deletions."""
# ruff: noqa: PLR2004 - percentages of a mix

import asyncio
import random
from collections import Counter

from . import times
from .account import Account
from .mailbox import View
from .world import World

_TICK = 0.05


def everything(account: Account) -> View:
    """Return a view of the whole mailbox."""
    return account.mailbox.view(times.FIRST, times.LAST + 1)


def change(world: World, account: Account, dice: random.Random) -> str:
    """Perform one random change; returns what it was."""
    now = world.clock.now()
    live = len(account.mailbox)
    roll = dice.randrange(100)
    if roll < 35 or live == 0:
        reply_to = everything(account).serials(dice.randrange(live), 1)[0] if live and dice.randrange(2) else None
        late = roll < 7
        # an hour to three years before now
        created = int(now) - dice.randrange(3600, 3 * 365 * times.DAY) if late else None
        account.deliver_generated(now, created, reply_to=reply_to)
        return "late" if late else "deliver"
    # every second time among the newest hundred, where readers are busy
    serial = everything(account).serials(dice.randrange(min(live, 100) if dice.randrange(2) else live), 1)[0]
    if roll >= 85:
        account.delete(serial, now)
        return "delete"
    if (roll >= 70 and account.service != "gmail") or account.service == "imap":
        names = list(account.catalog.folders.values())
        new_id = world.switches_of(account).move_changes_id
        account.move(serial, names[dice.randrange(len(names))], now, new_id=new_id)
        return "move"
    toggled = "INBOX" if account.service == "gmail" and roll >= 70 else None
    name = toggled or _any_label(account, dice)
    key = account.catalog.label_key(name)
    has = key in account.mailbox.placement(serial).labels
    account.relabel(serial, [] if has else [name], [name] if has else [], now)
    return "relabel"


def _any_label(account: Account, dice: random.Random) -> str:
    names = list(account.catalog.labels.values())
    if account.service == "gmail" and dice.randrange(2):
        return "UNREAD"
    return names[dice.randrange(len(names))]


def changes(world: World, account: Account, count: int, seed: int) -> dict[str, int]:
    """Perform many changes at once, the same for the same seed; returns how many of each."""
    dice = random.Random(f"{seed}/{account.id}")
    return dict(Counter(change(world, account, dice) for _ in range(count)))


async def keep_changing(world: World) -> None:
    """Change random accounts at the rate of the options until cancelled."""
    owed = 0.0
    while True:
        await asyncio.sleep(_TICK)
        owed += world.options.live * _TICK
        numbers = list(world.accounts)
        while owed >= 1 and numbers:
            owed -= 1
            account = world.accounts[numbers[world.random.randrange(len(numbers))]]
            if not account.removed:
                change(world, account, world.random)
