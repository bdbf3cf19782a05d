"""The whole sandbox behind the server: accounts, clock, switches, faults, request log."""

import random
from collections import Counter, deque
from collections.abc import Hashable
from pathlib import Path
from typing import NamedTuple

from . import calendar, ids, render, wire
from .account import Account, Subscription, token_of
from .cache import ByteCache
from .faults import FaultBook
from .filing import Filing
from .generator import Generator
from .limits import Limits
from .mailbox import Record
from .mailfiles import read_mailbox
from .options import SERVICES, SandboxOptions, Switches
from .problems import BadOption
from .spool import Spool
from .times import Clock

FIRST_ACCOUNT = 1001
_LOGGED = 100_000


class Seen(NamedTuple):
    """Log one request."""

    n: int
    method: str
    path: str
    query: str
    status: int
    account: int | None
    route: str


class World:
    """Hold everything the routes work on; used by one thread at a time."""

    def __init__(self, options: SandboxOptions) -> None:
        """Read the mail files and lay out the generated accounts; raises SandboxError on bad input."""
        self.options = options
        self.clock = Clock(options.started())
        self.switches = options.switches
        self.spool = Spool()
        self.accounts: dict[int, Account] = {}
        self.tokens: dict[str, int] = {}
        self.fragments = ByteCache(options.cache_bytes // 2)
        self.pages = ByteCache(options.cache_bytes // 2)
        self.faults = FaultBook(options.seed)
        self.limits = Limits()
        self.requests: deque[Seen] = deque(maxlen=_LOGGED)
        self.counters: Counter[str] = Counter()
        self.count = 0
        self.random = random.Random(options.seed)
        self._settings: dict[Switches, int] = {}
        self.started = int(self.clock.now())
        end = options.end()
        self.end = self.started if end is None else end
        self.shuffles: dict[Hashable, list[int]] = {}
        self._load()

    def _load(self) -> None:
        options = self.options
        try:
            together = None
            for path in options.mailboxes:
                account = together or self.create(address=_address_of(Path(path)), messages=0)
                together = account if options.one_account else None
                self._read(account, path)
            for _ in range(options.generated()):
                self.create(messages=options.messages)
        except BaseException:
            self.close()
            raise

    def _read(self, account: Account, path: str | Path) -> None:
        filing = account.filing = account.filing or Filing(account.catalog, account.address)
        serial = account.mailbox.next_serial
        records: list[Record] = []
        for found in read_mailbox(path, self.spool):
            records.append(filing.record_found(found, now=self.started, number=account.number(serial + len(records))))
        account.load(records)

    def create(
        self,
        *,
        service: str | None = None,
        address: str | None = None,
        messages: int = 0,
        days: float | None = None,
        subscribed: bool | None = None,
    ) -> Account:
        """Add an account with generated mail."""
        options = self.options
        account_id = FIRST_ACCOUNT + len(self.accounts)
        service = service or options.services[len(self.accounts) % len(options.services)]
        if service not in SERVICES:
            raise BadOption(f"{service} is not a service. Give one of {', '.join(SERVICES)}.")
        address = address or f"user{account_id}@sandbox.example"
        salt = ids.digest("account", options.seed, account_id, address)
        timetable = calendar.Timetable(messages, self.end, days or options.days, calendar.salted(salt))
        source = Generator(ids.digest("mail", options.seed, account_id), service, address, timetable)
        now = self.clock.now()
        account = Account(
            account_id,
            service=service,
            address=address,
            token=token_of(account_id, options.seed),
            salt=salt,
            base=source if messages else None,
            now=now,
        )
        account.source = source
        if not options.activity:
            account.activity = "forbidden"
        self.accounts[account_id] = account
        if account.token:
            self.tokens[account.token] = account_id
        if options.subscribed if subscribed is None else subscribed:
            self.subscribe(account)
        if self.switches_of(account).wild_dates:
            account.mailbox.wild = True
        return account

    def subscribe(self, account: Account) -> Subscription:
        """Begin to track an account's changes, from now on."""
        account.subscriptions += 1
        number = account.id * 100 + account.subscriptions
        account.subscription = Subscription(number, len(account.log), self.clock.now())
        return account.subscription

    def switches_of(self, account: Account | None) -> Switches:
        """Return the switches in force for an account."""
        return self.switches if account is None or account.switches is None else account.switches

    def set_switches(self, values: dict[str, object], account: Account | None = None) -> Switches:
        """Change switches for all accounts or for one; raises BadOption."""
        changed = self.switches_of(account).changed(values)
        if account is None:
            self.switches = changed
            for other in self.accounts.values():
                if other.switches is not None:
                    other.switches = other.switches.changed(values)
        else:
            account.switches = changed
        for touched in self.accounts.values() if account is None else (account,):
            wild = self.switches_of(touched).wild_dates
            if touched.mailbox.wild != wild:
                touched.mailbox.wild = wild
                touched.mailbox.reorder()
        return changed

    def setting(self, switches: Switches) -> int:
        """Return a small number that stands for a set of switches in cache keys."""
        return self._settings.setdefault(switches, len(self._settings))

    def fragment(self, account: Account, serial: int) -> bytes:
        """Return a live message as JSON, from the cache when it can."""
        switches = self.switches_of(account)
        if switches.attachment_ids == "changing":
            return wire.encode(render.message(account, serial, switches))
        key = (account.id, serial, account.mailbox.revision(serial), account.catalog.revision)
        found = self.fragments.get(key)
        if found is None:
            found = wire.encode(render.message(account, serial, switches))
            self.fragments.put(key, found)
        return found

    def rendered(self, account: Account, serial: int, *, raw: bool = False) -> bytes:
        """Return a live message as JSON, with the upstream's object if the call asks for raw data."""
        if not raw:
            return self.fragment(account, serial)
        shown = render.message(account, serial, self.switches_of(account))
        return wire.encode(render.with_raw(account, serial, shown))

    def close(self) -> None:
        """Give back what lies on disk."""
        self.spool.close()


def _address_of(path: Path) -> str:
    name = path.name
    for ending in (".gz", ".mbox", ".tar", ".tgz"):
        name = name.removesuffix(ending)
    kept = (
        "".join(c if c.isascii() and (c.isalnum() or c in ".-_") else "-" for c in name.lower()).strip(".-") or "mail"
    )
    return f"{kept}@sandbox.example"
