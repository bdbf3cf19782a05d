"""Limits on what is taken from an object, and the keys made for labels that have none."""

import hashlib

LONGEST_ID = 1024
"""Bytes of UTF-8; ids are keys in Postgres, whose index entries are limited (faults.md D16)."""
LONGEST_HREF = 2048
LONGEST_CREATED_RAW = 200
LONGEST_TOKEN = 8192
"""Characters of a cursor or page token: it has to fit into a request line."""
LARGEST_SIZE = 2**63 - 1
DEEPEST_RAW = 200
MOST_REJECTED_BYTES = 64 * 1024
DOTS = frozenset({".", ".."})
"""Path segments that every HTTP library resolves away, encoded or not."""


def fits(identifier: str) -> bool:
    """Tell whether a text is short enough, and not empty, to be a key."""
    size = len(identifier)
    return 0 < size <= LONGEST_ID and (size <= LONGEST_ID // 4 or len(identifier.encode()) <= LONGEST_ID)


def label_key(name: str) -> str:
    """Make the id of a label that came without one (faults.md D11)."""
    return "name:" + hashlib.sha256(name.encode()).hexdigest()[:32]


def long_label_key(identifier: str) -> str:
    """Make the id of a label whose own is too long to be a key."""
    return "sha256:" + hashlib.sha256(identifier.encode()).hexdigest()[:32]
