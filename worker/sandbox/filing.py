"""Files explicit mail: which thread, which labels or folder, at which time."""

from . import ids
from .catalog import GMAIL_SYSTEM, Catalog, Placement
from .content import Facts, read_facts
from .mailbox import Record
from .mailfiles import Found
from .spool import Stretch

_TAKEOUT = {
    "inbox": "INBOX", "unread": "UNREAD", "sent": "SENT", "important": "IMPORTANT", "starred": "STARRED",
    "trash": "TRASH", "spam": "SPAM", "draft": "DRAFT", "drafts": "DRAFT", "opened": "", "archived": "",
    "category personal": "CATEGORY_PERSONAL", "category social": "CATEGORY_SOCIAL",
    "category updates": "CATEGORY_UPDATES", "category forums": "CATEGORY_FORUMS",
    "category promotions": "CATEGORY_PROMOTIONS",
}  # fmt: skip


class Filing:
    """Know the threads of one account, and decide where its mail goes."""

    __slots__ = ("_address", "_catalog", "_threads")

    def __init__(self, catalog: Catalog, address: str) -> None:
        """Start without threads."""
        self._catalog = catalog
        self._address = address
        self._threads: dict[int, int] = {}

    def record_found(self, found: Found, *, now: int, number: int) -> Record:
        """File a message of a mail file."""
        facts = read_facts(found.head, found.from_line, now)
        if found.flags is not None:
            facts.status = "RO" if "S" in found.flags else "O"
        return self._record(facts, found.stretch, number, found.folder)

    def record(self, raw: bytes, stretch: Stretch, *, delivered: int, number: int) -> Record:
        """File a message that is delivered at a known time."""
        facts = read_facts(raw, "", delivered)
        facts.delivered = delivered
        return self._record(facts, stretch, number, "")

    def _record(self, facts: Facts, stretch: Stretch, number: int, folder: str) -> Record:
        written = facts.delivered if facts.written is None else facts.written
        placement = self._placement(facts, number, folder)
        return Record(facts.delivered, written, self._thread(facts, number), stretch, placement, 0.0)

    def _thread(self, facts: Facts, number: int) -> int:
        """Join the thread of any message that is referred to; the root's id names it."""
        known = [ids.digest(reference) for reference in facts.references[:1] + facts.references[-3:]]
        if facts.own_id is not None:
            known.append(ids.digest(facts.own_id))
        thread = next((self._threads[key] for key in known if key in self._threads), number)
        for key in known:
            self._threads.setdefault(key, thread)
        return thread

    def _placement(self, facts: Facts, number: int, folder: str) -> Placement:
        sent = facts.sender == self._address
        unread = number % 6 == 0 if facts.status is None else "R" not in facts.status
        if self._catalog.service == "gmail":
            return Placement(self._gmail_labels(facts, number, folder, sent=sent, unread=unread))
        if folder:
            key = self._catalog.folder_key(folder, create=True)
        else:
            key = "sentitems" if sent else ("inbox", "inbox", "inbox", "archive", "junkemail")[number % 5]
        labels = [*self._catalog.labels][number % 7 : number % 7 + 1] if self._catalog.service != "imap" else []
        return Placement(tuple(labels), key)

    def _gmail_labels(self, facts: Facts, number: int, folder: str, *, sent: bool, unread: bool) -> tuple[str, ...]:
        if facts.gmail_labels is not None:
            return self._takeout(facts.gmail_labels)
        keys = ["SENT"] if sent else ["INBOX"]
        if unread:
            keys.append("UNREAD")
        if number % 23 == 0:
            keys.append("STARRED")
        if not sent:
            listed = "CATEGORY_FORUMS" if facts.listed else "CATEGORY_PERSONAL"
            keys.append("CATEGORY_PROMOTIONS" if facts.bulk and not facts.listed else listed)
        if folder and (key := self._catalog.label_key(folder, create=True)):
            keys.append(key)
        elif number % 11 == 0:
            keys.append(f"Label_{1 + number % 9}")
        return tuple(keys)

    def _takeout(self, value: str) -> tuple[str, ...]:
        """Read the labels that Google's own export writes into each message."""
        keys: list[str] = []
        for item in value.split(","):
            name = item.strip().strip('"')
            key: str | None = _TAKEOUT.get(name.lower(), name if name in GMAIL_SYSTEM else None)
            if key is None and name:
                key = self._catalog.label_key(name, create=True)
            if key and key not in keys:
                keys.append(key)
        return tuple(keys)
