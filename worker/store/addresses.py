"""The normal form of an e-mail address: what makes two spellings the same person."""

import hashlib
from functools import lru_cache

import idna

LONGEST = 320
"""Bytes; the longest address the mail standards allow, and a safe key."""
KEPT = 200


@lru_cache(maxsize=1 << 16)
def normalised(email: str | None) -> str | None:
    """Fold an address to the key of `mail.people`: domain in lower case and punycode, local part case-folded.

    Dots and plus signs stay; what is no address is kept as it is, folded. None for an empty one. Over 320 bytes: the
    first 200 characters, `#` and the SHA-256 of the whole.
    """
    text = email.strip() if email else ""
    if not text:
        return None
    local, at, domain = text.rpartition("@")
    folded = local.casefold() + at + _domain(domain) if at else text.casefold()
    if len(folded.encode()) <= LONGEST:
        return folded
    return f"{folded[:KEPT]}#{hashlib.sha256(folded.encode()).hexdigest()}"


def _domain(domain: str) -> str:
    if domain.isascii():
        return domain.lower()
    try:
        return idna.encode(domain, uts46=True).decode()
    except idna.IDNAError:
        return domain.casefold()
