"""A strict reader of Prometheus' text format: what is not exactly right fails."""

import re
from typing import NamedTuple

NAME = r"[a-z][a-z0-9_]*"
SAMPLE = re.compile(rf"({NAME})(?:\{{((?:{NAME}=\"(?:[^\"\\\n]|\\[\\n\"])*\",?)*)\}})? (-?[0-9]+(?:\.[0-9]+)?)")


class Metric(NamedTuple):
    kind: str
    meaning: str
    samples: dict[tuple[tuple[str, str], ...], float]


def read(text: str) -> dict[str, Metric]:
    """Read a page of metrics; each has HELP, then TYPE, then its samples, and none comes twice."""
    assert text.endswith("\n")
    found: dict[str, Metric] = {}
    meaning, current = {}, ""
    for line in text.splitlines():
        if said := re.fullmatch(rf"# HELP ({NAME}) (\S.*)", line):
            assert said[1] not in meaning
            meaning[said[1]] = said[2]
        elif typed := re.fullmatch(rf"# TYPE ({NAME}) (counter|gauge|histogram|summary)", line):
            current = typed[1]
            assert list(meaning)[-1] == current, "HELP stands before TYPE"
            found[current] = Metric(typed[2], meaning[current], {})
        else:
            sample = SAMPLE.fullmatch(line)
            assert sample, line
            assert sample[1] == current, line
            labels = tuple(re.findall(rf"({NAME})=\"((?:[^\"\\]|\\.)*)\"", sample[2] or ""))
            assert len({name for name, _ in labels}) == len(labels)
            assert labels not in found[current].samples
            found[current].samples[labels] = float(sample[3])
    return found
