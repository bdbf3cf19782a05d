"""A seeded generator of believable mail: message `index` of an account is computed, never stored.

Messages form threads inside blocks of consecutive indices, so the thread of any message follows from its block.
"""
# ruff: noqa: PLR2004 - shares of a mix

import hashlib
from collections import OrderedDict
from typing import ClassVar, NamedTuple

from . import calendar, times, words
from .catalog import CATEGORIES, GMAIL_USER, Placement
from .content import Attachment, Content, Json, person, preformatted
from .mime import write_mail

_BLOCK = 64
_PLANS = 512
CONVERSATION, NEWSLETTER, AUTOMATIC = 0, 1, 2


class Draw:
    """Give small random numbers from one hash, cheaply and the same everywhere."""

    __slots__ = ("_pool",)

    def __init__(self, *parts: int) -> None:
        """Hash the parts into 512 bits."""
        joined = ",".join(map(str, parts)).encode()
        self._pool = int.from_bytes(hashlib.blake2b(joined).digest())

    def below(self, limit: int) -> int:
        """Return 0 <= n < limit."""
        self._pool, n = divmod(self._pool, limit)
        return n


class Slot(NamedTuple):
    """Place one message in its block: kind, the block-local slot that began the thread, its place, its author."""

    kind: int
    root: int
    depth: int
    author: int
    previous: int


class Generator:
    """Compute the mail of one account; satisfies mailbox.Bulk."""

    __slots__ = ("_times", "address", "count", "seed", "service")

    _shared: ClassVar["OrderedDict[tuple[int, int, int], tuple[Slot, ...]]"] = OrderedDict()

    def __init__(self, seed: int, service: str, address: str, timetable: calendar.Timetable) -> None:
        """Take the account's own seed, and the timetable of its mail."""
        self.seed = seed
        self.service = service
        self.address = address
        self.count = timetable.count
        self._times = timetable

    def created(self, index: int) -> int:
        """Return the time of a message."""
        return self._times.at(index)

    def first_before(self, moment: int) -> int:
        """Return the lowest index with created < moment."""
        return self._times.first_before(moment)

    def _slot(self, index: int) -> Slot:
        block, place = divmod(index, _BLOCK)
        key = (self.seed, self.count, block)
        plan = self._shared.get(key)
        if plan is None:
            plan = self._shared[key] = self._plan(block)
            if len(self._shared) > _PLANS:
                self._shared.popitem(last=False)
        return plan[place]

    def _plan(self, block: int) -> tuple[Slot, ...]:
        """Lay out the threads of a block; the highest index is the oldest, so it goes from there."""
        slots: list[Slot | None] = [None] * _BLOCK
        open_threads: list[int] = []
        last: dict[int, int] = {}
        first = block * _BLOCK
        top = min(_BLOCK, self.count - first) if first < self.count else _BLOCK
        draw = Draw(self.seed, 1, block)
        for place in range(top - 1, -1, -1):
            if place % 8 == 7:
                draw = Draw(self.seed, 2, block, place)
            roll = draw.below(100)
            author = draw.below(40)
            if roll < 12:
                slots[place] = Slot(NEWSLETTER, place, 0, author, place)
            elif roll < 30:
                slots[place] = Slot(AUTOMATIC, place, 0, author, place)
            elif roll < 55 or not open_threads:
                slots[place] = Slot(CONVERSATION, place, 0, author, place)
                open_threads.append(place)
                last[place] = place
            else:
                root = open_threads[-1 - draw.below(min(6, len(open_threads)))]
                before = slots[last[root]]
                depth = before.depth + 1 if before else 1
                # the owner answers every third mail
                slots[place] = Slot(CONVERSATION, root, depth, -1 if depth % 3 == 1 else author, last[root])
                last[root] = place
        return tuple(slot or Slot(AUTOMATIC, place, 0, 0, place) for place, slot in enumerate(slots))

    def thread_root(self, index: int) -> int:
        """Return the index of the message that began the thread."""
        return index - index % _BLOCK + self._slot(index).root

    def placement(self, index: int) -> Placement:
        """Return labels and folder as they were on arrival."""
        slot = self._slot(index)
        draw = Draw(self.seed, 3, index)
        sent = slot.author < 0
        old = index > self.count // 3
        if self.service == "gmail":
            return Placement(self._gmail_labels(slot, draw, sent=sent, old=old))
        labels: tuple[str, ...] = ()
        if self.service != "imap" and draw.below(5) == 0:
            labels = (CATEGORIES[draw.below(len(CATEGORIES))],)
        if sent:
            return Placement(labels, "sentitems")
        roll = draw.below(20)
        folder = (
            "junkemail" if roll == 0 else "deleteditems" if roll == 1 else "archive" if old and roll < 9 else "inbox"
        )
        return Placement(labels, "projects" if roll == 19 and self.service != "imap" else folder)

    @staticmethod
    def _gmail_labels(slot: Slot, draw: Draw, *, sent: bool, old: bool) -> tuple[str, ...]:
        if sent:
            return ("SENT",)
        labels = []
        roll = draw.below(40)
        if roll == 0:
            labels.append("SPAM")
        elif roll == 1:
            labels.append("TRASH")
        elif not old or roll < 20:
            labels.append("INBOX")
        if draw.below(6) == 0:
            labels.append("UNREAD")
        if draw.below(25) == 0:
            labels.append("STARRED")
        category = ("CATEGORY_PERSONAL", "CATEGORY_PROMOTIONS", "CATEGORY_UPDATES")[slot.kind]
        labels.append(category)
        if draw.below(5) == 0:
            labels.append(f"Label_{1 + draw.below(len(GMAIL_USER))}")
        return tuple(labels)

    def _member(self, number: int) -> Json:
        """Return one of the forty people of the account's cast; -1 is the owner."""
        if number < 0:
            return person(self.address, "Me Myself" if self.seed % 2 else None)
        draw = Draw(self.seed, 4, number)
        first, last = draw.below(len(words.FIRST)), draw.below(len(words.LAST))
        domain = words.DOMAINS[draw.below(len(words.DOMAINS))]
        name = f"{words.FIRST[first]} {words.LAST[last]}" if draw.below(12) else None
        return person(f"p{first:02d}.{last:02d}.{number}@{domain}", name)

    def _subject(self, index: int) -> str:
        draw = Draw(self.seed, 5, index)
        topic = words.TOPICS[draw.below(len(words.TOPICS))]
        return words.SUBJECTS[draw.below(len(words.SUBJECTS))].format(topic)

    def content(self, index: int) -> Content:
        """Return what message `index` says."""
        slot = self._slot(index)
        if slot.kind == NEWSLETTER:
            return self._newsletter(index, slot)
        if slot.kind == AUTOMATIC:
            return self._automatic(index, slot)
        return self._conversation(index, slot)

    def _paragraphs(self, index: int) -> list[str]:
        draw = Draw(self.seed, 6, index)
        stock = words.SENTENCES
        return [
            " ".join(stock[draw.below(len(stock))] for _ in range(1 + draw.below(4))) for _ in range(1 + draw.below(4))
        ]

    def _conversation(self, index: int, slot: Slot) -> Content:
        start = index - index % _BLOCK
        draw = Draw(self.seed, 7, index)
        subject = self._subject(start + slot.root)
        author = self._member(slot.author)
        previous = self._slot(start + slot.previous) if slot.depth else None
        other = previous.author if previous else draw.below(40)
        to = [self._member(other if slot.author < 0 else -1)]
        cc = [self._member(draw.below(40)) for _ in range(max(0, draw.below(6) - 3))]
        paragraphs = self._paragraphs(index)
        text = "\n\n".join(paragraphs) + f"\n\n{author['name'] or ''}"
        if previous is not None:
            quoted = "\n> ".join(self._paragraphs(start + slot.previous))
            text += f"\n\nOn {times.iso(self.created(start + slot.previous))} somebody wrote:\n> {quoted}"
        markup = None
        if draw.below(2):
            inner = "".join(f"<p>{p.replace('&', '&amp;').replace('<', '&lt;')}</p>" for p in paragraphs)
            markup = f'<html><body><div style="font-family:sans-serif">{inner}</div></body></html>'
        attachments = [self._file(draw, part) for part in range(max(0, draw.below(10) - 7))]
        return Content(
            f"Re: {subject}" if slot.depth else None if draw.below(200) == 0 else subject,
            author, to, cc, [], text, markup or preformatted(text), paragraphs[0][:160], attachments,
        )  # fmt: skip

    def _newsletter(self, index: int, slot: Slot) -> Content:
        draw = Draw(self.seed, 8, index)
        address, name = words.NEWSLETTERS[slot.author % len(words.NEWSLETTERS)]
        paragraphs = self._paragraphs(index)
        rows = "".join(
            f'<tr><td style="padding:8px"><h2>No. {n}</h2><p>{p}</p></td></tr>' for n, p in enumerate(paragraphs)
        )
        markup = (
            '<!DOCTYPE html><html><head><meta charset="utf-8"><style>td{color:#333}</style></head><body>'
            f'<table width="600">{rows}</table><p><a href="https://unsubscribe.example/{index}">Unsubscribe</a></p></body></html>'
        )
        text = "\n\n".join(paragraphs) if draw.below(2) else None
        subject = f"{name} · issue {index % 500}: {words.TOPICS[draw.below(len(words.TOPICS))]}"
        return Content(subject, person(address, name), [self._member(-1)], [], [], text, markup, paragraphs[0][:160])

    def _automatic(self, index: int, slot: Slot) -> Content:
        draw = Draw(self.seed, 9, index)
        number = slot.author % len(words.SENDERS)
        address, name = words.SENDERS[number]
        subject = words.AUTOMATIC[number].format(draw.below(10), words.TOPICS[draw.below(len(words.TOPICS))])
        lines = [f"{key}: {draw.below(100_000)}" for key in ("job", "duration", "files", "errors", "id")]
        text = f"{subject}\n\n" + "\n".join(lines) + "\n-- \nThis mail was sent automatically; do not reply.\n"
        attachments = [self._file(draw, 0)] if draw.below(12) == 0 else []
        return Content(
            subject, person(address, name), [self._member(-1)], [], [], text, preformatted(text),
            " ".join(text[:160].split()), attachments,
        )  # fmt: skip

    @staticmethod
    def _file(draw: Draw, part: int) -> Attachment:
        name, mime_type = words.FILES[draw.below(len(words.FILES))]
        return Attachment(part, mime_type, name, 200 + draw.below(20_000))

    def part(self, index: int, number: int) -> bytes | None:
        """Return the bytes of an attachment."""
        for attachment in self.content(index).attachments:
            if attachment.part == number:
                block = hashlib.blake2b(f"{self.seed},{index},{number}".encode()).digest()
                return (block * (attachment.size // len(block) + 1))[: attachment.size]
        return None

    def rfc822(self, index: int, created: int | None = None) -> bytes:
        """Return the message as mail, with the bytes of its attachments; a delivered one has its own time."""
        content = self.content(index)
        slot = self._slot(index)
        start = index - index % _BLOCK
        parts = [(a, self.part(index, a.part) or b"") for a in content.attachments]
        reference = f"<{start + slot.previous}.{self.seed}@sandbox.example>" if slot.depth else None
        own = f"<{index}.{self.seed}@sandbox.example>"
        return write_mail(
            content,
            parts,
            created=self.created(index) if created is None else created,
            message_id=own,
            in_reply_to=reference,
        )
