"""When generated mail arrives: strictly decreasing times by arithmetic, dense in business hours."""
# ruff: noqa: PLR2004 - hours and days of a week

from bisect import bisect_left, bisect_right

from . import ids

_WEEK = 7 * 86_400
_MONDAY = 4 * 86_400  # 1970-01-05 was a Monday


def _hours() -> list[float]:
    """Return the running sum of the weights of the 168 hours of a week, UTC."""
    total, sums = 0.0, [0.0]
    for hour in range(168):
        working = hour // 24 < 5 and 7 <= hour % 24 < 18
        total += 4.0 if working else 1.0 if 6 <= hour % 24 < 22 else 0.25
        sums.append(total)
    return sums


_SUMS = _hours()
_TOTAL = _SUMS[-1]
_PEAK = 4.0 * 168 / _TOTAL


def _work_at(moment: float) -> float:
    """Return the weight that has passed from the first Monday to a moment."""
    week, rest = divmod(moment - _MONDAY, _WEEK)
    hour, part = divmod(rest, 3600)
    at = int(hour)
    return week * _TOTAL + _SUMS[at] + (_SUMS[at + 1] - _SUMS[at]) * part / 3600


def _moment_of(work: float) -> float:
    """Invert _work_at."""
    week, rest = divmod(work, _TOTAL)
    hour = min(167, bisect_right(_SUMS, rest) - 1)
    part = (rest - _SUMS[hour]) / (_SUMS[hour + 1] - _SUMS[hour])
    return _MONDAY + week * _WEEK + (hour + part) * 3600


class Timetable:
    """Map index (0 is the newest) to a whole second, strictly decreasing."""

    __slots__ = ("_even", "_first", "_step", "_wobble", "count", "end", "salt")

    def __init__(self, count: int, end: int, days: float, salt: int) -> None:
        """Spread `count` messages over `days` before `end`, more days when there is no second for each."""
        span = max(days * 86_400, count * 1.25 + 1)
        self.count = count
        self.end = end
        self.salt = salt
        gap = span / max(count, 1) / _PEAK
        self._even = gap < 2
        if self._even:
            self._first, self._step, self._wobble = end - span, span / max(count, 1), 0.0
        else:
            self._first = _work_at(end - span)
            self._step = (_work_at(end) - self._first) / max(count, 1)
            self._wobble = 1 - 1.5 / gap

    def at(self, index: int) -> int:
        """Return the time of a message."""
        place = self.count - 1 - index
        if self._even:
            return int(self._first + place * self._step)
        jitter = (((index * 0x9E3779B97F4A7C15) ^ self.salt) >> 20) % 4096 / 4096 * self._wobble
        return int(_moment_of(self._first + (place + jitter) * self._step))

    def first_before(self, moment: int) -> int:
        """Return the lowest index with a time < moment."""
        return bisect_left(range(self.count), 1 - moment, key=lambda index: -self.at(index))


def salted(*parts: object) -> int:
    """Return the salt of an account's timetable."""
    return ids.digest("timetable", *parts)
