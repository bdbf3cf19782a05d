"""A process that ends by itself is started again, later each time, until it has run for a while."""

from pathlib import Path

import pytest

from worker.local.errors import LocalError
from worker.local.part import LONGEST_PAUSE, STEADY_SECONDS, Part


class Fake:
    """A process that runs until it is told otherwise."""

    def __init__(self) -> None:
        self.running = True
        self.stopped = 0

    def stop(self) -> None:
        self.running = False
        self.stopped += 1


class Stage:
    """A part with a clock of its own and every process it started."""

    def __init__(self, *, again: bool = True) -> None:
        self.now = 0.0
        self.made: list[Fake] = []
        self.told: list[str] = []
        self.able = True
        log = Path("beat.log")
        self.part = Part("Beat", log, self._make, tell=self.told.append, again=again, clock=lambda: self.now)

    def _make(self) -> Fake:
        if not self.able:
            raise LocalError("there is no room")
        self.made.append(Fake())
        return self.made[-1]

    def pause_after_death(self) -> float:
        self.made[-1].running = False
        began, starts = self.now, len(self.made)
        while len(self.made) == starts:
            self.part.look()
            self.now += 0.5
        return self.now - 0.5 - began


def test_the_pause_grows_to_its_limit_and_begins_anew_after_a_steady_time() -> None:
    stage = Stage()
    stage.part.start()
    assert [stage.pause_after_death() for _ in range(8)] == [1, 2, 4, 8, 16, 32, LONGEST_PAUSE, LONGEST_PAUSE]
    stage.now += STEADY_SECONDS + 1
    stage.part.look()
    assert stage.pause_after_death() == 1


def test_a_person_is_told_of_the_end_and_of_the_start_with_the_log() -> None:
    stage = Stage()
    stage.part.start()
    stage.pause_after_death()
    assert stage.told == [
        "Beat ended unexpectedly; it is started again in 1 s. Log: beat.log",
        "Beat runs again.",
    ]


def test_what_is_left_of_a_dead_process_is_collected_once() -> None:
    stage = Stage()
    stage.part.start()
    stage.pause_after_death()
    assert [fake.stopped for fake in stage.made] == [1, 0]


def test_a_start_that_fails_is_tried_again_later() -> None:
    stage = Stage()
    stage.part.start()
    stage.made[-1].running = stage.able = False
    for _ in range(8):
        stage.part.look()
        stage.now += 0.5
    assert stage.told[1] == "Beat cannot be started: there is no room. Next attempt in 2 s."
    with pytest.raises(LocalError, match=r"not running; its log is beat\.log"):
        _ = stage.part.process
    stage.able = True
    stage.now += LONGEST_PAUSE
    assert stage.part.look()
    assert stage.part.running


def test_what_cannot_be_started_again_is_an_error() -> None:
    stage = Stage(again=False)
    stage.part.start()
    stage.made[-1].running = False
    with pytest.raises(LocalError, match="Beat ended unexpectedly, and its data was temporary"):
        stage.part.look()


def test_a_part_that_was_stopped_stays_stopped() -> None:
    stage = Stage()
    stage.part.start()
    stage.part.stop()
    stage.part.stop()
    assert not stage.part.running
    assert stage.made[0].stopped == 1
