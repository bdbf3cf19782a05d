"""A tolerant reader of RFC 822 and MIME that never raises: what it cannot read, it leaves as it stands.

The standard library's email package raises on some real headers; here bytes are only split and decoded.
"""

import binascii
import re
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

_HEADER = re.compile(rb"([!-9;-~]+)[ \t]*:(.*)", re.DOTALL)
_BLANKS = (b"\n\n", b"\n\r\n")
_WORD = re.compile(r"=\?([^?\s]+)\?([bBqQ])\?([^?]*)\?=")
_GAP = re.compile(r"(\?=)\s+(=\?)")
_PARAMETER = re.compile(r';\s*([^\s=;"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"?|([^;]*))', re.DOTALL)
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\((?:[^()\\]|\\.|\([^()]*\))*\)|<[^>]*>|[,;:]|[^,;:<("]+|.', re.DOTALL)
_DEPTH = 40
_PARTS = 2000


@dataclass(slots=True)
class Part:
    """Hold one leaf of a mail: type, parameters, disposition, name, and its decoded bytes."""

    mime_type: str
    charset: str
    name: str | None
    attached: bool
    content: bytes


@dataclass(slots=True)
class Mail:
    """Hold headers (lower-case name, raw value unfolded) in order, and the leaves in order."""

    headers: list[tuple[str, bytes]]
    parts: list[Part] = field(default_factory=list)

    def raw(self, name: str) -> str | None:
        """Return the first header of that name, undecoded but as text."""
        for key, value in self.headers:
            if key == name:
                return text_of(value)
        return None

    def all(self, name: str) -> list[str]:
        """Return every header of that name, undecoded but as text."""
        return [text_of(value) for key, value in self.headers if key == name]

    def text(self, name: str) -> str | None:
        """Return the first header of that name with encoded words decoded."""
        value = self.raw(name)
        return None if value is None else decode_words(value)


def scrub(text: str) -> str:
    """Replace lone surrogates, which some codecs produce and JSON cannot carry."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def decode_text(raw: bytes, charset: str) -> str:
    """Decode bytes by their declared charset, else UTF-8, else Latin-1."""
    if charset:
        try:
            return scrub(raw.decode(charset, "replace"))
        except (LookupError, ValueError, TypeError):
            pass  # an unknown charset: guess below
    return text_of(raw)


def text_of(raw: bytes) -> str:
    """Decode bytes of unknown charset."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def decode_words(text: str) -> str:
    """Decode RFC 2047 words; a broken one stays as written."""
    if "=?" not in text:
        return text.strip()
    return scrub(_WORD.sub(_word, _GAP.sub(r"\1\2", text)).strip())


def _word(found: re.Match[str]) -> str:
    charset, encoding, body = found.groups()
    raw = body.encode("utf-8", "replace")
    raw = _base64(raw) if encoding in "bB" else binascii.a2b_qp(raw, header=True)
    return decode_text(raw, charset.partition("*")[0])


def _base64(raw: bytes) -> bytes:
    try:
        return binascii.a2b_base64(raw)
    except binascii.Error:
        kept = re.sub(rb"[^A-Za-z0-9+/]", b"", raw)
        kept = kept[: len(kept) - (len(kept) % 4 == 1)]
        return binascii.a2b_base64(kept + b"=" * (-len(kept) % 4))


def _uuencoded(raw: bytes) -> bytes:
    out = []
    lines = iter(raw.splitlines())
    for line in lines:
        if line.startswith(b"begin "):
            break
    for line in lines:
        if line.strip() in (b"end", b"`", b""):
            break
        try:
            out.append(binascii.a2b_uu(line))
        except binascii.Error:
            break  # cut or damaged: keep what could be read
    return b"".join(out)


def split_head(raw: bytes) -> tuple[list[tuple[str, bytes]], bytes]:
    """Split a message or part into headers and body; CR, LF and CRLF all end lines."""
    if b"\n" not in raw:
        raw = raw.replace(b"\r", b"\n")
    if raw.startswith((b"From ", b">From ")):
        raw = raw.partition(b"\n")[2]
    if raw.startswith((b"\n", b"\r\n")):
        return [], raw
    ends = [(place, len(blank)) for blank in _BLANKS if (place := raw.find(blank)) >= 0]
    place, size = min(ends, default=(len(raw), 0))
    head, body = raw[:place], raw[place + size :]
    headers: list[tuple[str, bytes]] = []
    lines = head.splitlines()
    folded: list[bytes] = []
    name = ""
    for number, line in enumerate(lines):
        if line[:1] in (b" ", b"\t"):
            folded.append(b" " + line.strip())
            continue
        if name:
            headers.append((name, b"".join(folded).strip()))
            name = ""
        found = _HEADER.match(line)
        if found is None:
            rest = b"\n".join(lines[number:])
            return headers, rest + b"\n\n" + body if body else rest
        name, folded = found[1].decode("ascii").lower(), [found[2]]
    if name:
        headers.append((name, b"".join(folded).strip()))
    return headers, body


def parameters(value: str) -> tuple[str, dict[str, str]]:
    """Split `text/plain; charset=x` into the value and its parameters, RFC 2231 forms joined and decoded."""
    main, _, _ = value.partition(";")
    plain: dict[str, str] = {}
    pieces: dict[str, list[tuple[int, bool, str]]] = {}
    for key, quoted, bare in _PARAMETER.findall(value[len(main) :]):
        item = re.sub(r"\\(.)", r"\1", quoted) if quoted else bare.strip()
        name, star, tail = key.lower().partition("*")
        if not star:
            plain.setdefault(name, item)
        else:
            order = tail.rstrip("*")
            pieces.setdefault(name, []).append((int(order[:4]) if order.isdecimal() else 0, key.endswith("*"), item))
    for name, found in pieces.items():
        plain[name] = _extended(sorted(found))
    return main.strip().lower(), plain


def _extended(pieces: list[tuple[int, bool, str]]) -> str:
    charset, raw = "", b""
    for number, encoded, item in pieces:
        if encoded and number == 0 and item.count("'") > 1:
            charset, _, item = item.split("'", 2)  # noqa: PLW2901 - the value without its prefix
        raw += unquote_to_bytes(item) if encoded else item.encode("utf-8", "replace")
    return decode_text(raw, charset)


def parse(raw: bytes) -> Mail:
    """Read a whole message."""
    headers, body = split_head(raw)
    mail = Mail(headers)
    _walk(mail, headers, body, 0, in_digest=False)
    return mail


def _walk(mail: Mail, headers: list[tuple[str, bytes]], body: bytes, depth: int, *, in_digest: bool) -> None:
    own = dict(reversed(headers))
    default = "message/rfc822" if in_digest else "text/plain"
    mime_type, params = parameters(text_of(own.get("content-type", default.encode())))
    if not re.fullmatch(r"[^\s/]+/[^\s/]+", mime_type):
        mime_type = "text/plain"
    boundary = params.get("boundary", "")
    if mime_type.startswith("multipart/") and boundary and depth < _DEPTH:
        for piece in _split_parts(body, boundary):
            if len(mail.parts) < _PARTS:
                _walk(mail, *split_head(piece), depth + 1, in_digest=mime_type == "multipart/digest")
        return
    if mime_type.startswith("multipart/") and not boundary:
        mime_type = "text/plain"
    disposition, more = parameters(text_of(own.get("content-disposition", b"")))
    name = more.get("filename", params.get("name"))
    encoding = own.get("content-transfer-encoding", b"").strip().lower()
    attached = disposition == "attachment" or bool(name) or mime_type not in ("text/plain", "text/html")
    part = Part(
        mime_type,
        params.get("charset", "").strip("\"' "),
        None if name is None else decode_words(name),
        attached,
        _decoded(body, encoding),
    )
    mail.parts.append(part)


def _decoded(body: bytes, encoding: bytes) -> bytes:
    if encoding.startswith(b"base64"):
        return _base64(body)
    if encoding.startswith(b"quoted-printable"):
        return binascii.a2b_qp(body)
    if encoding in (b"x-uuencode", b"uuencode", b"x-uue"):
        return _uuencoded(body)
    return body


def _split_parts(body: bytes, boundary: str) -> list[bytes]:
    mark = b"--" + boundary.encode("utf-8", "replace").rstrip()
    if mark not in body:
        mark = b"--" + boundary.encode("latin-1", "replace").rstrip()
    # a delimiter begins a line; what follows it on that line is padding, or the two hyphens that close
    parts: list[bytes] = []
    body = b"\n" + body
    start = -1
    place = body.find(b"\n" + mark)
    while place >= 0:
        line_end = body.find(b"\n", place + 1)
        line_end = len(body) if line_end < 0 else line_end
        tail = body[place + 1 + len(mark) : line_end].strip()
        if tail in (b"", b"--"):
            if start >= 0:
                parts.append(body[start : place - (body[place - 1 : place] == b"\r")] if place > start else b"")
            start = line_end + 1
            if tail:
                return parts
        place = body.find(b"\n" + mark, line_end)
    if 0 <= start < len(body):
        parts.append(body[start:])
    return parts


def addresses(text: str) -> list[tuple[str | None, str | None]]:
    """Split an address list into (address, name) pairs in linear time; groups are flattened."""
    found: list[tuple[str | None, str | None]] = []
    words: list[str] = []
    comment = angle = None
    for piece in _TOKEN.findall(text):
        if piece in (",", ";"):
            _add(found, words, angle, comment)
            words, comment, angle = [], None, None
        elif piece == ":" and angle is None and "@" not in "".join(words):
            words = []
        elif piece[0] == "<" and piece[-1] == ">" and len(piece) > 1:
            angle = piece[1:-1].strip()
        elif piece[0] == "(" and piece[-1] == ")" and len(piece) > 1:
            comment = piece[1:-1].strip()
        elif piece[0] == '"' and piece[-1] == '"' and len(piece) > 1:
            words.append(re.sub(r"\\(.)", r"\1", piece[1:-1]))
        else:
            words.append(piece)
    _add(found, words, angle, comment)
    return found


def _add(found: list[tuple[str | None, str | None]], words: list[str], angle: str | None, comment: str | None) -> None:
    text = re.sub(r"\s+", " ", "".join(words)).strip()
    if angle is None and not text:
        return
    address, name = (text, comment) if angle is None else (angle, text or comment)
    found.append((address or None, decode_words(name) or None if name else None))
