"""Ids of the API: a kind, an underscore, and the upstream id in unpadded base64url (kloudless-api.md 2)."""

import base64
import binascii
import hashlib

_MASK = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15
_DIGITS = 16
_BACK = pow(_STEP, -1, 1 << 64)


def encode(kind: str, upstream: str) -> str:
    """Make an API id, e.g. `label_VU5SRUFE` of `UNREAD`."""
    return f"{kind}_{base64.urlsafe_b64encode(upstream.encode()).rstrip(b'=').decode()}"


def decode(kind: str, ident: str) -> str | None:
    """Return the upstream id, or None for an id of another kind or form."""
    head, _, tail = ident.partition("_")
    if head != kind or not tail:
        return None
    try:
        return base64.urlsafe_b64decode(tail + "=" * (-len(tail) % 4)).decode()
    except (binascii.Error, ValueError):
        return None


def digest(*parts: object) -> int:
    """Hash parts to 64 bits, the same in every process."""
    joined = "\x1f".join(map(str, parts)).encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(joined, digest_size=8).digest())


class Numbering:
    """Turn an account's serial numbers into 64-bit upstream ids and back, without a table."""

    __slots__ = ("salt",)

    def __init__(self, salt: int) -> None:
        """Take the account's own salt (64 bits)."""
        self.salt = salt

    def number(self, serial: int) -> int:
        """Return the upstream id of a serial."""
        x = ((serial + 1) * _STEP + self.salt) & _MASK
        return x ^ (x >> 32)

    def serial(self, number: int) -> int:
        """Return the serial of an upstream id; it may be one that was never given out."""
        x = number ^ (number >> 32)
        return ((x - self.salt) * _BACK & _MASK) - 1


def hexadecimal(number: int) -> str:
    """Write a 64-bit id as the 16 hex digits upstreams use."""
    return f"{number:016x}"


def message_id(number: int) -> str:
    """Make the API's message id."""
    return encode("message", hexadecimal(number))


def parse_hex(text: str | None) -> int | None:
    """Read 16 hex digits back; None for anything else."""
    if text is None or len(text) != _DIGITS or not set(text) <= set("0123456789abcdef"):
        return None
    return int(text, 16)
