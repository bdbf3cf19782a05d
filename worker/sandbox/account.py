"""An account of the sandbox: its mailbox, labels, log, subscription, and the changes that can happen to it."""

import hmac
from bisect import bisect_right
from dataclasses import dataclass
from hashlib import sha256
from operator import itemgetter

from . import content, ids
from .catalog import Catalog, Placement
from .changelog import ChangeLog
from .filing import Filing
from .mailbox import Bulk, Mailbox, Record
from .options import Switches
from .spool import Spool, Stretch


@dataclass(slots=True)
class Subscription:
    """Say since when changes are tracked: the number of the last change before it."""

    id: int
    start: int
    created: float


def token_of(account_id: int, seed: int) -> str:
    """Make the bearer token of an account, the same at every start."""
    return hmac.digest(f"sandbox-{seed}".encode(), f"account-{account_id}".encode(), sha256).hex()[:40]


class Account:
    """Hold one account; every change goes through a method here, so that the log is true."""

    __slots__ = (
        "activity", "address", "arrivals", "broken", "catalog", "created", "filing", "generated", "id", "log",
        "mailbox", "removed", "requests", "salt", "service", "source", "subscription", "subscriptions",
        "switches", "token",
    )  # fmt: skip

    def __init__(
        self, account_id: int, *, service: str, address: str, token: str, salt: int, base: Bulk | None, now: float
    ) -> None:
        """Start with the bulk mail alone, not subscribed."""
        self.id = account_id
        self.service = service
        self.address = address
        self.token: str | None = token
        self.salt = salt
        self.created = now
        self.mailbox = Mailbox(ids.Numbering(salt), base)
        self.source: Bulk | None = base
        self.generated = base.count if base else 0
        self.catalog = Catalog(service, salt)
        self.filing: Filing | None = None
        self.log = ChangeLog()
        self.subscription: Subscription | None = None
        self.subscriptions = 0
        self.activity = "unsupported" if service == "imap" else "on"
        self.broken = False
        self.removed = False
        self.switches: Switches | None = None
        self.requests = 0
        self.arrivals: list[tuple[float, int]] = []

    def number(self, serial: int) -> int:
        """Return the upstream id of a message."""
        return self.mailbox.numbering.number(serial)

    def message_id(self, serial: int) -> str:
        """Return the API id of a message."""
        return ids.message_id(self.number(serial))

    def serial_of(self, message_id: str) -> int | None:
        """Find a live message by its API id."""
        return self.live_number(ids.parse_hex(ids.decode("message", message_id)))

    def live_number(self, number: int | None) -> int | None:
        """Find a live message by its upstream id."""
        if number is None:
            return None
        serial = self.mailbox.numbering.serial(number)
        return serial if self.mailbox.is_live(serial) else None

    def content(self, serial: int) -> content.Content:
        """Return what a live message says."""
        source = self._source(serial)
        if isinstance(source, Stretch):
            return content.read_content(source.read())
        assert self.source is not None  # noqa: S101 - a generated message has its generator
        return self.source.content(source)

    def rfc822(self, serial: int) -> bytes:
        """Return the original bytes of a live message."""
        source = self._source(serial)
        if isinstance(source, Stretch):
            return source.read()
        assert self.source is not None  # noqa: S101 - as above
        record = self.mailbox.records.get(serial)
        return self.source.rfc822(source, record.delivered if record else None)

    def part(self, serial: int, number: int) -> bytes | None:
        """Return the decoded bytes of an attachment."""
        source = self._source(serial)
        if isinstance(source, Stretch):
            part = content.read_part(source.read(), number)
            return part.content if part else None
        assert self.source is not None  # noqa: S101 - as above
        return self.source.part(source, number)

    def _source(self, serial: int) -> Stretch | int:
        record = self.mailbox.records.get(serial)
        return record.source if record else serial

    def hidden(self, lag: float, now: float) -> frozenset[int]:
        """Return messages too young to be listed."""
        if lag <= 0 or not self.arrivals:
            return frozenset()
        young = bisect_right(self.arrivals, now - lag, key=itemgetter(0))
        return frozenset(serial for _, serial in self.arrivals[young:])

    def deliver(self, record: Record, now: float) -> int:
        """Let a message arrive."""
        serial = self.mailbox.add(record)
        self.arrivals.append((now, serial))
        self.log.append("add", serial, now)
        return serial

    def deliver_generated(self, now: float, created: int | None = None, *, reply_to: int | None = None) -> int:
        """Let the next generated message arrive, with an old date if `created` says so."""
        moment = int(now) if created is None else created
        source = self.source
        assert source is not None  # noqa: S101 - the world gives every account a generator
        index = self.generated
        self.generated += 1
        thread = self.number(self.mailbox.next_serial) if reply_to is None else self.mailbox.thread(reply_to)
        return self.deliver(Record(moment, moment, thread, index, source.placement(index), now), now)

    def deliver_raw(self, raw: bytes, spool: Spool, now: float, created: int | None = None) -> int:
        """Let a message arrive that is given as RFC 822."""
        moment = int(now) if created is None else created
        number = self.number(self.mailbox.next_serial)
        record = self._filing().record(raw, spool.add(raw), delivered=moment, number=number)
        record.arrived = now
        if created is not None:
            record.written = created
        return self.deliver(record, now)

    def _filing(self) -> Filing:
        if self.filing is None:
            self.filing = Filing(self.catalog, self.address)
        return self.filing

    def load(self, records: list[Record]) -> None:
        """File the mail of a file, before anybody looks: no change is logged."""
        self.mailbox.add_all(records)

    def place(self, serial: int, placement: Placement, now: float) -> None:
        """Change labels or folder; nothing is logged when nothing changes."""
        if placement != self.mailbox.placement(serial):
            self.mailbox.place(serial, placement)
            self.log.append("update", serial, now)

    def relabel(self, serial: int, add: list[str], remove: list[str], now: float) -> None:
        """Add and remove labels by name; unknown names become user labels."""
        gone = {self.catalog.label_key(name) for name in remove}
        labels, folder = self.mailbox.placement(serial)
        keys = [key for key in labels if key not in gone]
        for name in add:
            key = self.catalog.label_key(name, create=True)
            if key is not None and key not in keys:
                keys.append(key)
        self.place(serial, Placement(tuple(keys), folder), now)

    def move(self, serial: int, folder: str, now: float, *, new_id: bool) -> int:
        """Move to a folder (by name or id); with `new_id` the message gets another id, as on Outlook."""
        key = self.catalog.folder_key(folder, create=True)
        labels, old = self.mailbox.placement(serial)
        if key == old:
            return serial
        if not new_id:
            self.place(serial, Placement(labels, key), now)
            return serial
        mailbox = self.mailbox
        record = mailbox.records.get(serial)
        written = record.written if record else mailbox.created(serial)
        delivered = record.delivered if record else mailbox.created(serial)
        moved = Record(delivered, written, mailbox.thread(serial), self._source(serial), Placement(labels, key), now)
        self.delete(serial, now)
        return self.deliver(moved, now)

    def delete(self, serial: int, now: float) -> None:
        """Remove a message for good."""
        self.mailbox.remove(serial)
        self.log.append("delete", serial, now)
