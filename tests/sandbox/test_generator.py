"""Generated mail is the same for the same seed, ordered by arithmetic, and costs no memory until it changes."""

import datetime as dt
import json
import subprocess
import sys
from itertools import pairwise
from typing import Any

import pytest

from worker.sandbox import SandboxOptions
from worker.sandbox.calendar import Timetable
from worker.sandbox.world import World

TIMETABLES = [(1, 1), (64, 0.0001), (5000, 0.05), (5000, 1), (5000, 365), (5000, 7000)]
SIZES = """
import sys, psutil
from worker.sandbox import SandboxOptions
from worker.sandbox.world import World
accounts, messages = map(int, sys.argv[1:])
world = World(SandboxOptions(accounts=accounts, messages=messages))
account = list(world.accounts.values())[-1]
view = account.mailbox.view(-10**11, 10**12)
for rank in range(0, len(view), max(1, len(view) // 5000)):
    world.fragment(account, view.serials(rank, 1)[0])
print(len(view), psutil.Process().memory_info().rss)
world.close()
"""


def rendered(**options: Any) -> list[bytes]:
    world = World(SandboxOptions(**options))
    try:
        account = next(iter(world.accounts.values()))
        view = account.mailbox.view(-(10**11), 10**12)
        return [world.fragment(account, serial) for serial in view.serials(0, len(view))]
    finally:
        world.close()


def test_the_same_seed_gives_the_same_mail(start: Any) -> None:
    now = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    first = rendered(messages=200, seed=5, now=now)
    assert first == rendered(messages=200, seed=5, now=now)
    other = rendered(messages=200, seed=6, now=now)
    assert not set(first) & set(other)


@pytest.mark.parametrize(("messages", "days"), TIMETABLES)
def test_times_strictly_decrease_and_are_found_by_bisection(messages: int, days: float) -> None:
    times = Timetable(messages, 1_717_588_800, days, 12345)
    every = [times.at(index) for index in range(messages)]
    assert all(a > b for a, b in pairwise(every))
    assert every[0] <= 1_717_588_800
    for index in range(0, messages, max(1, messages // 50)):
        assert times.first_before(every[index]) == index + 1
        assert times.first_before(every[index] + 1) == index


def test_mail_is_denser_in_business_hours() -> None:
    times = Timetable(20_000, 1_717_588_800, 28, 1)
    night = sum(times.at(index) % 86_400 < 6 * 3600 for index in range(20_000))
    assert night < 20_000 / 10


def test_generated_mail_is_varied() -> None:
    mail = [json.loads(one) for one in rendered(messages=2000)]
    threads = [m["thread_id"] for m in mail]
    assert 0.2 < len(set(threads)) / len(threads) < 0.9
    assert max(threads.count(thread) for thread in set(threads[:300])) >= 4
    assert any(m["subject"] is None for m in mail)
    assert sum(bool(m["attachments"]) for m in mail) > 50
    assert sum(m["text_body"] is None for m in mail) > 50
    assert sum(m["body"].startswith("<pre>") for m in mail) > 500
    letters = "".join(m["text_body"] or "" for m in mail)
    assert all(letter in letters for letter in "資Спα्🎂ش감")
    assert len({m["from"]["email"] for m in mail}) > 20
    by_time = {m["thread_id"]: m["created"] for m in mail}
    assert len(by_time) == len(set(threads))


def test_a_reply_comes_after_what_it_answers() -> None:
    mail = [json.loads(one) for one in rendered(messages=640)]
    roots = {m["thread_id"].removeprefix("thread_"): m for m in mail if m["id"][8:] == m["thread_id"][7:]}
    for message in mail:
        assert roots[message["thread_id"].removeprefix("thread_")]["created"] <= message["created"]


@pytest.mark.parametrize(("accounts", "messages"), [(1, 1_000_000), (10_000, 1000)])
def test_a_million_messages_or_ten_thousand_accounts_fit_in_memory(accounts: int, messages: int) -> None:
    command = [sys.executable, "-c", SIZES, str(accounts), str(messages)]
    count, size = map(int, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    assert count == messages
    assert size < 1 << 30


def test_ids_are_unique_and_known_again() -> None:
    world = World(SandboxOptions(accounts=2, messages=3000))
    try:
        ids = set()
        for account in world.accounts.values():
            for serial in range(3000):
                ids.add(account.message_id(serial))
                assert account.serial_of(account.message_id(serial)) == serial
        assert len(ids) == 6000
        assert account.serial_of(account.message_id(3000)) is None
    finally:
        world.close()
