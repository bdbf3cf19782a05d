"""Sizes and durations as people write them: `16MiB`, `64MB`, `90s`, `24h`, or a plain number of bytes or seconds."""

import re
from collections.abc import Mapping
from fractions import Fraction

from msgspec import Struct

_WRITTEN = re.compile(r"([0-9]+(?:\.[0-9]+)?) *([A-Za-z]*)")


class Unit(Struct, frozen=True, kw_only=True):
    """What a plain number means, and what else may stand behind a number."""

    sentence: str
    """What such a quantity must be, in words."""
    factors: Mapping[str, Fraction]
    """Each unit in its usual spelling, the smallest first; `plain` is the one of a number alone."""
    plain: str

    def read(self, text: str) -> float:
        """The quantity in the plain unit; raises ValueError for what is none."""
        written = _WRITTEN.fullmatch(text.strip())
        if written is None:
            raise ValueError(self.sentence)
        spelt = {name.lower(): factor for name, factor in self.factors.items()}
        factor = spelt.get((written[2] or self.plain).lower())
        if factor is None:
            raise ValueError(self.sentence)
        quantity = Fraction(written[1]) * factor
        return int(quantity) if quantity.denominator == 1 else float(quantity)

    def write(self, quantity: float) -> str:
        """The quantity in the largest unit that keeps it whole."""
        for name, factor in reversed(list(self.factors.items())):
            if quantity and Fraction(quantity) % factor == 0:
                return f"{int(Fraction(quantity) / factor)} {name}"
        return f"{quantity:g} {self.plain}"


BYTES = Unit(
    sentence="a number of bytes, or a size as in 512KiB, 16MiB or 1GiB",
    factors={
        "B": Fraction(1),
        "kB": Fraction(10**3),
        "KiB": Fraction(2**10),
        "MB": Fraction(10**6),
        "MiB": Fraction(2**20),
        "GB": Fraction(10**9),
        "GiB": Fraction(2**30),
    },
    plain="B",
)
SECONDS = Unit(
    sentence="a number of seconds, or a time as in 90s, 10m, 24h or 30d",
    factors={
        "ms": Fraction(1, 1000),
        "s": Fraction(1),
        "m": Fraction(60),
        "h": Fraction(3600),
        "d": Fraction(86_400),
    },
    plain="s",
)
