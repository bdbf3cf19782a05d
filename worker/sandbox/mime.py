"""Writes a message as RFC 822, for generated mail whose raw form is asked for."""

import base64
import email.utils

from .content import Attachment, Content, Json


def _word(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    return f"=?utf-8?B?{base64.b64encode(text.encode()).decode()}?="


def _person(value: Json) -> str:
    name = value["name"]
    address = f"<{value['email']}>"
    if not isinstance(name, str):
        return address
    return f'"{name}" {address}' if name.isascii() else f"{_word(name)} {address}"


def _leaf(mime_type: str, payload: bytes, extra: str = "") -> bytes:
    head = f"Content-Type: {mime_type}\r\nContent-Transfer-Encoding: base64\r\n{extra}\r\n"
    return head.encode() + base64.encodebytes(payload).replace(b"\n", b"\r\n")


def _multipart(kind: str, boundary: str, leaves: list[bytes]) -> bytes:
    mark = f"--{boundary}".encode()
    body = b"".join(mark + b"\r\n" + leaf + b"\r\n" for leaf in leaves)
    return f'Content-Type: multipart/{kind}; boundary="{boundary}"\r\n\r\n'.encode() + body + mark + b"--\r\n"


def write_mail(
    content: Content,
    parts: list[tuple[Attachment, bytes]],
    *,
    created: int,
    message_id: str,
    in_reply_to: str | None,
) -> bytes:
    """Write headers, text and HTML alternatives, and attachments."""
    head = [f"Date: {email.utils.formatdate(created)}", f"Message-ID: {message_id}", "MIME-Version: 1.0"]
    if in_reply_to:
        head += [f"In-Reply-To: {in_reply_to}", f"References: {in_reply_to}"]
    if content.sender:
        head.append(f"From: {_person(content.sender)}")
    for name, people in (("To", content.to), ("Cc", content.cc)):
        if people:
            head.append(f"{name}: {', '.join(map(_person, people))}")
    if content.subject is not None:
        head.append(f"Subject: {_word(content.subject)}")
    leaves = []
    if content.text is not None:
        leaves.append(_leaf("text/plain; charset=utf-8", content.text.encode()))
    if content.html is not None and (content.text is None or not content.html.startswith("<pre>")):
        leaves.append(_leaf("text/html; charset=utf-8", content.html.encode()))
    body = leaves[0] if len(leaves) == 1 else _multipart("alternative", "=_alternative", leaves)
    if parts:
        files = []
        for attachment, payload in parts:
            name = f'; filename="{_word(attachment.name)}"' if attachment.name else ""
            files.append(_leaf(attachment.mime_type, payload, f"Content-Disposition: attachment{name}\r\n"))
        body = _multipart("mixed", "=_mixed", [body, *files])
    return "\r\n".join(head).encode() + b"\r\n" + body
