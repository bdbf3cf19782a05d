"""What a message says, apart from where it lies: the part of the API object that no label change touches."""

import html
import re
from dataclasses import dataclass, field
from typing import NamedTuple

from . import rfc822, times

Json = dict[str, object]
_TAG = re.compile(r"<(script|style|head)\b.*?</\1\s*>|<!--.*?-->|<[^>]*>", re.DOTALL | re.IGNORECASE)
_REFERENCE = re.compile(r"<([^<>\s]+)>")
_SNIPPET = 160


class Attachment(NamedTuple):
    """Describe one attached file; `part` is its number within the message."""

    part: int
    mime_type: str
    name: str | None
    size: int


@dataclass(slots=True)
class Content:
    """Hold the fields of a message that come from the mail itself."""

    subject: str | None
    sender: Json | None
    to: list[Json]
    cc: list[Json]
    bcc: list[Json]
    text: str | None
    html: str | None
    snippet: str | None
    attachments: list[Attachment] = field(default_factory=list)


@dataclass(slots=True)
class Facts:
    """Hold what filing a message needs: times, its place in a thread, and hints for labels."""

    delivered: int
    written: int | None
    own_id: str | None
    references: list[str]
    listed: bool
    bulk: bool
    gmail_labels: str | None
    status: str | None
    sender: str | None


def person(address: str | None, name: str | None) -> Json:
    """Make a Person object."""
    return {"email": address, "name": name, "type": "person", "api": "email"}


def preformatted(text: str) -> str:
    """Wrap the text of a text-only mail the way the API does (seed: Message, body)."""
    return f"<pre>{html.escape(text, quote=False)}</pre>"


def snippet_of(text: str | None, markup: str | None) -> str | None:
    """Make the short preview."""
    if text is None:
        if markup is None:
            return None
        text = html.unescape(_TAG.sub(" ", markup[:20_000]))
    return rfc822.scrub(" ".join(text[:2_000].split())[:_SNIPPET])


def read_content(raw: bytes) -> Content:
    """Turn a mail of any quality into API fields; never raises."""
    mail = rfc822.parse(raw)
    texts: list[str] = []
    markups: list[str] = []
    attachments = []
    for number, part in enumerate(mail.parts):
        if part.attached:
            attachments.append(Attachment(number, part.mime_type, part.name, len(part.content)))
        else:
            decoded = rfc822.decode_text(part.content, part.charset).replace("\r\n", "\n")
            (markups if part.mime_type == "text/html" else texts).append(decoded)
    text = "\n".join(texts) if texts else None
    markup = "\n".join(markups) if markups else None
    people = {name: _people(mail, name) for name in ("from", "to", "cc", "bcc")}
    return Content(
        subject=mail.text("subject"),
        sender=people["from"][0] if people["from"] else None,
        to=people["to"],
        cc=people["cc"],
        bcc=people["bcc"],
        text=text,
        html=markup if markup is not None else None if text is None else preformatted(text),
        snippet=snippet_of(text, markup),
        attachments=attachments,
    )


def _people(mail: rfc822.Mail, name: str) -> list[Json]:
    return [person(*pair) for value in mail.all(name) for pair in rfc822.addresses(value)]


def read_part(raw: bytes, number: int) -> rfc822.Part | None:
    """Return one leaf of a mail, for the download of an attachment."""
    parts = rfc822.parse(raw).parts
    return parts[number] if 0 <= number < len(parts) else None


def read_facts(raw: bytes, from_line: str, now: int) -> Facts:
    """Read the headers that filing needs.

    Delivery is the `From ` line, else the topmost Received, else Date; clamped to [1970-01-02, now].
    """
    mail = rfc822.Mail(rfc822.split_head(raw)[0])
    written = times.parse_mail_date(mail.raw("date") or "")
    # public-inbox writes 1970-01-01 into every `From ` line: a placeholder, not a time
    delivered = times.parse_from_line(from_line) or None
    received = mail.raw("received")
    if delivered is None and received is not None:
        delivered = times.parse_mail_date(received.rpartition(";")[2])
    if delivered is None:
        delivered = written
    if delivered is None:
        delivered = times.EARLIEST_DELIVERY
    sender = rfc822.addresses(mail.raw("from") or "")
    references = _REFERENCE.findall(mail.raw("references") or "") + _REFERENCE.findall(mail.raw("in-reply-to") or "")
    own = _REFERENCE.search(mail.raw("message-id") or "")
    return Facts(
        delivered=max(times.EARLIEST_DELIVERY, min(delivered, now)),
        written=written,
        own_id=own[1] if own else None,
        references=references,
        listed=mail.raw("list-id") is not None,
        bulk=(mail.raw("precedence") or "").lower() in ("bulk", "junk") or mail.raw("list-unsubscribe") is not None,
        gmail_labels=mail.text("x-gmail-labels"),
        status=mail.raw("status"),
        sender=sender[0][0] if sender else None,
    )
