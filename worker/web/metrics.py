"""Figures in the text format of Prometheus, written by hand: one answer of the store and one of the broker.

The usual library keeps counters of its own process and adds up those of others. Here every figure is a fact of the
database at this moment, so that all it would add is a registry to get round.
"""

from collections.abc import Iterator, Mapping

from msgspec import Struct

from worker.store.fleet import QUANTILES, Fleet
from worker.web.bell import QUEUES, Queue

TYPE = "text/plain; version=0.0.4; charset=utf-8"
STATUSES = ("active", "backing_off", "auth_required", "degraded", "gone", "paused")
KINDS = ("pending", "message", "event", "page", "held_delete", "account")
OUTCOMES = ("done", "partial", "failed")
CHANGES = ("added", "updated", "unchanged", "tombstoned", "revived")


class Metric(Struct, frozen=True):
    """One metric with its samples: labels and value."""

    name: str
    meaning: str
    samples: tuple[tuple[Mapping[str, str], float], ...]


def text(version: str, fleet: Fleet | None, queue: Queue | None, *, queue_known: bool) -> str:
    """Write all figures; `fleet` is None while Postgres is away, `queue` while the broker is."""
    metrics = [
        _one("build_info", "Always 1; the release of this page is its label.", 1, version=version),
        _one(
            "database_up", "Whether Postgres answered in time, and has the tables of this release.", fleet is not None
        ),
        *(_of_fleet(fleet) if fleet is not None else ()),
        *(_of_queue(queue) if queue_known else ()),
    ]
    return "".join(map(_written, metrics))


def _of_fleet(fleet: Fleet) -> Iterator[Metric]:
    yield _each("accounts", "Accounts by status.", "status", fleet.statuses, STATUSES)
    yield _each("accounts_due", "Accounts that are due, and neither queued nor leased.", "queue", fleet.due, QUEUES)
    yield _each("accounts_queued", "Accounts that dispatch has rung for.", "queue", fleet.queued, QUEUES)
    yield _one("accounts_leased", "Accounts that a worker is at work on.", fleet.leased)
    yield _one("accounts_unfinished", "Accounts with an open window.", fleet.unfinished)
    yield _one("accounts_unequal", "Accounts whose last audit found a difference.", fleet.unequal)
    yield _one("workers_leasing", "Processes that hold a lease.", fleet.workers)
    yield _one("dispatch_wait_seconds", "Longest wait of a due account that nobody rings for.", fleet.waits)
    late = "Seconds by which polls of accounts at work are late, as quantiles over them."
    yield _quantiles("poll_late_seconds", late, fleet.late)
    yield _quantiles("poll_age_seconds", "Seconds since accounts at work were polled, as quantiles.", fleet.poll_age)
    if fleet.polled_at is not None:
        yield _one("last_poll_timestamp_seconds", "When any poll ended last.", fleet.polled_at.timestamp())
    yield _one("windows_open", "Windows that are still to be walked.", fleet.windows_open)
    yield _each("problems", "Open problems by kind.", "kind", fleet.problems, KINDS)
    if fleet.oldest_problem_at is not None:
        oldest = fleet.oldest_problem_at.timestamp()
        yield _one("oldest_problem_timestamp_seconds", "When the oldest open problem was first seen.", oldest)
    yield _one(
        "messages_estimated", "Rows of mail.messages, tombstones too, as Postgres estimates them.", fleet.messages
    )
    yield _each("recent_runs", "Runs of the last hour; idle polls leave none.", "outcome", fleet.runs, OUTCOMES)
    what = "What runs of the last hour found messages to be."
    yield _each("recent_messages", what, "change", fleet.changes, CHANGES)
    yield _one("recent_requests", "Requests that runs of the last hour sent upstream.", fleet.changes["requests"])
    yield _one("recent_windows_walked", "Windows that runs of the last hour walked.", fleet.changes["windows_walked"])
    yield _one("throttled_scopes", "Kinds of accounts that all wait at this moment.", len(fleet.throttled))
    yield _one(
        "throttle_seconds",
        "Longest such wait that is left.",
        max((seconds for seconds, _ in fleet.throttled.values()), default=0.0),
    )


def _of_queue(queue: Queue | None) -> Iterator[Metric]:
    yield _one("queue_up", "Whether the broker answered.", queue is not None)
    if queue is None:
        return
    yield _each("queue_messages", "Messages that no worker has taken.", "queue", queue.waiting, QUEUES)
    yield _one("queue_unacknowledged", "Messages that workers have taken and not acknowledged.", queue.taken)
    oldest = "Seconds since the oldest of these was taken; 0 without any."
    yield _one("queue_oldest_unacknowledged_seconds", oldest, queue.oldest or 0.0)


def _one(name: str, meaning: str, value: float, **labels: str) -> Metric:
    return Metric(f"mailmirror_{name}", meaning, ((labels, float(value)),))


def _each(name: str, meaning: str, label: str, values: Mapping[str, float], every: tuple[str, ...]) -> Metric:
    """One sample for each value of a label that is known beforehand, so that no series comes or goes."""
    return Metric(f"mailmirror_{name}", meaning, tuple(({label: one}, float(values.get(one, 0))) for one in every))


def _quantiles(name: str, meaning: str, values: tuple[float, ...]) -> Metric:
    samples = zip(QUANTILES, values, strict=False)  # none at all without accounts
    return Metric(f"mailmirror_{name}", meaning, tuple(({"quantile": f"{one:g}"}, value) for one, value in samples))


def _written(metric: Metric) -> str:
    lines = [f"# HELP {metric.name} {metric.meaning}", f"# TYPE {metric.name} gauge"]
    for labels, value in metric.samples:
        pairs = ",".join(f'{name}="{_escaped(one)}"' for name, one in labels.items())
        lines.append(f"{metric.name}{f'{{{pairs}}}' if pairs else ''} {_number(value)}")
    return "".join(f"{line}\n" for line in lines)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(round(value, 3))


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
