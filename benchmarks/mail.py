"""Mail to measure with: seeded, about 8 kB of JSON a message (5.4 of HTML, 1.4 of text), as an mbox for the sandbox."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path

SEED = 7
NEWEST = datetime(2026, 6, 1, tzinfo=UTC)
SYLLABLES = (
    "ba ce di fo gu ha je ki lo mu na pe qui ro su ta ve wi xo ye za th er st an ing ent al ic or".split()  # noqa: SIM905
)
STYLE = 'style="font-family:Helvetica,Arial,sans-serif;font-size:14px;line-height:1.5;color:#222222;margin:0 0 12px 0"'
BOUNDARY = "=_part_of_the_bench"


class Writer:
    """Writes messages; the same seed gives the same mail."""

    def __init__(self, seed: int = SEED, people: int = 400) -> None:
        self._random = random.Random(seed)
        ranks = range(1, 6001)
        self._words = ["".join(self._random.choices(SYLLABLES, k=self._random.randint(1, 4))) for _ in ranks]
        self._weights = list(accumulate(rank**-0.7 for rank in ranks))
        self._people = [self._person(number) for number in range(people)]
        self._threads: list[str] = []

    def mbox(self, path: Path, count: int, span: timedelta = timedelta(days=300)) -> Path:
        """Write `count` messages, oldest first, evenly over the span before `NEWEST`."""
        step = span / count
        with path.open("w", encoding="utf-8") as file:
            for number in range(count):
                at = NEWEST - span + step * number
                file.write(f"From bench@sandbox.example {at:%a %b %d %H:%M:%S %Y}\n")
                file.write(self.message(number, at).replace("\nFrom ", "\n>From ") + "\n\n")
        return path

    def message(self, number: int, at: datetime) -> str:
        """Write one message (RFC 822)."""
        draw = self._random
        own = f"<{number}.{draw.getrandbits(64):x}@bench.example>"
        sender, to, *others = draw.sample(self._people, 2 + draw.choices((0, 1, 3), (70, 20, 10))[0])
        head = [f"From: {sender}", f"To: {to}", f"Subject: {self._sentence(draw.randint(3, 9))}", f"Message-ID: {own}"]
        head.append(f"Date: {at:%a, %d %b %Y %H:%M:%S +0000}")
        if others:
            head.append(f"Cc: {', '.join(others)}")
        if self._threads and draw.random() < 0.6:  # noqa: PLR2004  # 0.4 threads a message
            head.append(f"References: {draw.choice(self._threads[-200:])}")
        else:
            self._threads.append(own)
        head.append(f'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="{BOUNDARY}"\n')
        paragraphs = [
            self._sentence(draw.randint(12, 60)) for _ in range(max(1, round(draw.lognormvariate(1.55, 0.5))))
        ]
        parts = [_part("text/plain", "\n\n".join(paragraphs)), _part("text/html", self._html(paragraphs))]
        for _ in range(draw.choices((0, 1, 2, 3), (74, 15, 9, 2))[0]):
            name = f"{draw.choice(self._words)}.pdf"
            parts.append(_part("application/pdf", "JVBERg==", f'Content-Disposition: attachment; filename="{name}"\n'))
        return "\n".join((*head, *parts, f"--{BOUNDARY}--"))

    def _html(self, paragraphs: Sequence[str]) -> str:
        draw = self._random
        inner = "".join(
            f'<tr><td width="600" valign="top" style="padding:{draw.randint(4, 24)}px"><p {STYLE}>{text}</p>'
            f'<a href="https://{draw.choice(self._words)}.example/{draw.getrandbits(96):x}?u={draw.getrandbits(64):x}" '
            f'style="color:#1155cc;text-decoration:none">{self._sentence(3)}</a></td></tr>\n'
            for text in (*paragraphs, *(self._sentence(draw.randint(8, 40)) for _ in range(5)))
        )
        return f'<!DOCTYPE html><html><body><table role="presentation" cellpadding="0">{inner}</table></body></html>'

    def _sentence(self, words: int) -> str:
        return " ".join(self._random.choices(self._words, cum_weights=self._weights, k=words)).capitalize() + "."

    def _person(self, number: int) -> str:
        first, last = (word.capitalize() for word in self._random.sample(self._words, 2))
        address = f"{first}.{last}.{number}@bench.example".lower()
        return f"{first} {last} <{address}>" if number % 12 else address


def _part(kind: str, content: str, more: str = "") -> str:
    encoding = "base64" if more else "8bit"
    charset = "" if more else "; charset=utf-8"
    return f"--{BOUNDARY}\nContent-Type: {kind}{charset}\nContent-Transfer-Encoding: {encoding}\n{more}\n{content}\n"
