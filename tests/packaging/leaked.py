"""Finds what looks like a secret in text: forms of known credentials, and long strings too random for words."""

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

FORMS = {
    "private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "cloud access key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "code host token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{22,}|glpat-[\w-]{20})",
    "chat token": r"\bxox[abeoprs]-[\w-]{10,}",
    "API key": r"\b(?:AIza[\w-]{35}|sk_live_\w{16,}|sk-[A-Za-z0-9]{32,})",
    "web token": r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]+",
    "bearer token": r"(?i)\b(?:bearer|apikey) +[\w.~+/-]{20,}=*",
    "password in an address": r"\w+://[^\s/:@{}$<>'\"]*:(?![A-Z]+@)[^\s/:@{}$<>'\"*]{8,}@",
    "key ring": r"\b[\w.-]{1,64}:[A-Za-z0-9+/]{43}=",
    "value of a secret": r"(?i)\b(?:password|passwd|secret|token|api_?key|keyring)\b[\"']?\s*[:=]\s*[\"']?"
    r"(?=[\w+/.-]*\d)[A-Za-z0-9+/][\w+/.-]{19,}=*",
}
STRING = re.compile(r"(?<![\w+/=-])[A-Za-z0-9+/_-]{32,}={0,2}(?![\w+/-])")
HEX = re.compile(r"[0-9a-f]+|[0-9A-F]+")
RANDOM_HEX, RANDOM_TEXT = 3.0, 4.2
"""Bits per character from which a string is called random; words and paths of our own stay below."""


class Found(NamedTuple):
    """What looks like a secret, and why."""

    kind: str
    text: str


def find(text: str) -> Iterator[Found]:
    """Look through a text."""
    for kind, form in FORMS.items():
        for found in re.finditer(form, text):
            yield Found(kind, found[0])
    for found in STRING.finditer(text):
        if _random(found[0]):
            yield Found("random string", found[0])


def _random(word: str) -> bool:
    if HEX.fullmatch(word):
        return _entropy(word) > RANDOM_HEX
    mixed = any(map(str.isdigit, word)) and any(map(str.isupper, word)) and any(map(str.islower, word))
    return mixed and _entropy(word) > RANDOM_TEXT


def _entropy(word: str) -> float:
    """Bits per character, by how often each stands in the word itself."""
    return -sum(n / len(word) * math.log2(n / len(word)) for n in Counter(word).values())
