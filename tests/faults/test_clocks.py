"""Clocks that jump, zones, and hours in which nobody was there: what is written is the database's time, in UTC."""

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.acceptance.conftest import MakeMirror
from tests.acceptance.stage import ROOT, Upstream
from tests.faults.scenes import recovers, shift
from worker.store import dispatch


@pytest.mark.fault("U23")
def test_mail_whose_event_was_lost_is_there_after_an_hour(calm_upstream: Upstream, mirror_of: MakeMirror) -> None:
    box = calm_upstream.mailbox(60)
    mirrored = mirror_of(box)
    mirrored.sync()
    arrived = box.deliver(2)
    box.arm("event_other_type", route="activity", args={"all": True})
    mirrored.sync()
    assert box.fired("event_other_type") == 1
    assert not set(arrived) & mirrored.live(), "nothing told of it"
    shift(mirrored, timedelta(minutes=61))
    recovers(mirrored)


@pytest.mark.fault("P26")
@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata", "Pacific/Chatham"])
def test_clock_changes_leap_days_and_the_servers_zone_shift_nothing(
    calm_upstream: Upstream, mirror_of: MakeMirror, zone: str
) -> None:
    box = calm_upstream.mailbox(20)
    moments = [datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC), datetime(2024, 3, 10, 7, 0, tzinfo=UTC),
               datetime(2024, 11, 3, 5, 59, 59, tzinfo=UTC), datetime(2024, 11, 3, 6, 0, tzinfo=UTC),
               datetime(2024, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(1900, 2, 28, 12, 0, tzinfo=UTC)]  # fmt: skip
    for moment in moments:
        box.deliver(1, created=f"{moment:%Y-%m-%dT%H:%M:%SZ}")
    mirrored = mirror_of(box)
    mirrored.sql(f"alter database {mirrored.one('select current_database()')} set timezone = '{zone}'")
    mirrored.mirror.engine.dispose()
    recovers(mirrored)
    mirrored.walk_again()
    assert mirrored.sync().totals.unchanged == 26, "I5"


CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static long by(void) { return atol(getenv("CLOCK_OFF_BY")); }
int clock_gettime(clockid_t id, struct timespec *out) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int code = real(id, out);
    if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE) out->tv_sec += by();
    return code;
}
int gettimeofday(struct timeval *out, void *zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    out->tv_sec = now.tv_sec;
    out->tv_usec = now.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
"""


@pytest.fixture
def wrong_clock(tmp_path: Path) -> Callable[[timedelta], dict[str, str]]:
    """Make an environment in which a process finds the time of day off; skips where no C compiler is."""
    source, library = tmp_path / "clock.c", tmp_path / "clock.so"
    source.write_text(CLOCK)
    try:
        subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("no C compiler here")
    return lambda by: {"LD_PRELOAD": str(library), "CLOCK_OFF_BY": str(int(by.total_seconds()))}


@pytest.mark.fault("P24")
@pytest.mark.parametrize("years", [5, -5])
def test_a_worker_whose_clock_is_years_off_writes_the_databases_time(
    calm_upstream: Upstream,
    mirror_of: MakeMirror,
    wrong_clock: Callable[[timedelta], dict[str, str]],
    years: int,
) -> None:
    box = calm_upstream.mailbox(60, days=5)
    mirrored = mirror_of(box)
    environment = {**os.environ, **mirrored.environment(), **wrong_clock(timedelta(days=365 * years))}

    def run(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    believed = int(run("-c", "import datetime; print(datetime.datetime.now().year)"))
    assert abs(believed - datetime.now(UTC).year - years) <= 1, "the clock is right"
    run("-m", "worker", "sync", str(mirrored.id))
    mirrored.must_be_equal()
    box.churn(10, 1)
    run("-m", "worker", "sync", str(mirrored.id))
    mirrored.must_be_equal()
    moments = mirrored.sql("select polled_at, next_due_at from sync.accounts"
                           " union all select moved_at, moved_at from sync.cursors"
                           " union all select max(after), max(walked_at) from sync.windows")  # fmt: skip
    now = mirrored.one("select pg_catalog.now()")
    assert all(abs(moment - now) < timedelta(hours=1) for row in moments for moment in row), "I3"
    recovers(mirrored)


@pytest.mark.fault("P10")
def test_after_an_hour_without_a_scheduler_all_are_due_the_longest_waiting_first(
    calm_upstream: Upstream, mirror_of: MakeMirror
) -> None:
    boxes = [calm_upstream.mailbox(20) for _ in range(3)]
    mirrors = [mirror_of(box) for box in boxes]
    for mirrored in mirrors:
        mirrored.sync()
    for wait, mirrored in zip((30, 10, 20), mirrors, strict=True):
        mirrored.sql("update sync.accounts set next_due_at = sync.now() + make_interval(mins => %s) where id = %s",
                     wait, mirrored.id)  # fmt: skip
    first = mirrors[0]
    assert list(first.mirror.pick("live")) == []
    for number, box in enumerate(boxes):
        box.churn(10, number)
    shift(first, timedelta(hours=1))
    due = [dispatch.pick(first.mirror.engine, "live", most) for most in (1, 2, 3)]
    assert [list(ids) for ids in due] == [[mirrors[1].id], [mirrors[2].id], [first.id]]
    for mirrored in mirrors:
        recovers(mirrored)
