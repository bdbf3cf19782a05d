"""One baton: of all threads of a simulation exactly one runs, and a seeded draw says which one is next.

A thread gives the baton back at every port call, and wherever the engine would wait for another thread: for a future,
for a lock, for time. So a schedule is a function of its seed; neither threads nor Postgres have a say in it.
"""

import threading
from collections.abc import Callable
from random import Random

MOST_STEPS = 60_000


class DiedError(BaseException):
    """The thread's process is no more; a BaseException, as the engine must not answer it."""


class Life:
    """What the threads of one simulated process share: whether it still runs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.stopped_until = 0.0
        """Virtual time before which none of its threads runs (SIGSTOP, a pause of the machine)."""


class Actor(threading.Thread):
    """A thread that runs only while it holds the baton."""

    def __init__(self, baton: "Baton", name: str, life: Life, weight: float, work: Callable[[], object]) -> None:
        super().__init__(name=name, daemon=True)
        self.life = life
        self.weight = weight
        self.what = "begin"
        self.ready: Callable[[], bool] | None = None
        self.wakes_at = 0.0
        self.over = False
        self.error: BaseException | None = None
        self._baton = baton
        self._work = work
        self.gate = threading.Lock()
        self.gate.acquire()

    def run(self) -> None:
        """Work once the baton comes, and hand it back at the end."""
        self.gate.acquire()
        try:
            if not self.life.dead:
                self._work()
        except DiedError:
            pass
        except BaseException as error:  # noqa: BLE001  # raised again in the thread of the test
            self.error = error
        finally:
            self.over = True
            self._baton.gate.release()

    def may_run(self, now: float) -> bool:
        """Whether it has something to do with the baton now."""
        return self.life.dead or (self.due_at <= now and (self.ready is None or self.ready()))

    @property
    def due_at(self) -> float:
        """When it may run at the earliest."""
        return max(self.wakes_at, self.life.stopped_until)


class Baton:
    """Holds the actors, the draw, the virtual time and the trace of one simulation."""

    def __init__(self, seed: int, stickiness: float) -> None:
        self.dice = Random(f"schedule {seed}")
        self._stickiness = stickiness
        self.time = 0.0
        """Virtual seconds since the simulation began."""
        self.steps = 0
        self.trace: list[str] = []
        self.broken: str | None = None
        """What was found wrong; ends the simulation at once."""
        self.gate = threading.Lock()
        self.gate.acquire()
        self._actors: list[Actor] = []
        self._running: Actor | None = None
        self._until: Callable[[], bool] = lambda: False
        self._ended: list[Actor] = []

    # --- from the thread that draws

    def spawn(self, name: str, life: Life, work: Callable[[], object], *, weight: float = 1.0) -> Actor:
        """Add an actor; it begins when it is drawn."""
        actor = Actor(self, name, life, weight, work)
        self._actors.append(actor)
        actor.start()
        return actor

    def play(self, until: Callable[[], bool]) -> None:
        """Give the baton to one actor after another until the condition holds or nobody is left.

        Raises what an actor could not handle, and AssertionError for what was found wrong.
        """
        self._until = until
        while (actor := self._next()) is not None:
            self._give(actor)
            self.gate.acquire()
            ended = self.actor
            self._running = None
            if ended.over:
                self._actors.remove(ended)
                self._ended.append(ended)
                if ended.error is not None:
                    raise ended.error
        if self.broken is not None:
            raise AssertionError(self.broken)

    def _give(self, actor: Actor) -> None:
        self._running = actor
        actor.gate.release()

    def _next(self) -> Actor | None:
        """Draw who is next; None gives the baton back to the thread that plays."""
        while self._actors and self.broken is None and not self._until():
            self.steps += 1
            if self.steps > MOST_STEPS:
                self.broken = f"It does not come to rest within {MOST_STEPS} steps."
            actor = self._drawn()
            if actor is not None:
                return actor
        return None

    def _drawn(self) -> Actor | None:
        """Draw among those who can go on; where all sleep, time passes until the first wakes."""
        dead = next((a for a in self._actors if a.life.dead), None)
        if dead is not None:
            return dead
        able = [a for a in self._actors if a.may_run(self.time)]
        if self._running in able and self.dice.random() < self._stickiness:
            return self._running
        if able:
            return self.dice.choices(able, [a.weight for a in able])[0]
        asleep = [a.due_at for a in self._actors if a.due_at > self.time]
        if asleep:
            self.time = min(asleep)
        else:
            self.broken = f"Everybody waits for somebody: {[(a.name, a.what) for a in self._actors]}"
        return None

    def end(self) -> None:
        """Let every thread end, whatever it was about to do; without a draw, so that it cannot fail."""
        for actor in self._actors:
            actor.life.dead = True
        while self._actors:
            actor = self._actors.pop(0)
            self._give(actor)
            self.gate.acquire()
            self._ended.append(actor)
        for actor in self._ended:
            actor.join(10)

    # --- from the actors

    @property
    def actor(self) -> Actor:
        """The actor that holds the baton."""
        assert self._running is not None, "only an actor may do this"
        return self._running

    def note(self, words: str) -> None:
        """Write a line of the trace."""
        self.trace.append(f"{self.steps:5} {self.time:10.2f} s  {self.actor.name:14} {words}")

    def hand_over(self, what: str, ready: Callable[[], bool] | None = None, wakes_at: float = 0.0) -> None:
        """Give the baton back before `what`, and come back when drawn again; raises DiedError when killed."""
        actor = self.actor
        if actor.life.dead or self.broken is not None:
            raise DiedError
        actor.what, actor.ready, actor.wakes_at = what, ready, wakes_at
        following = self._next()
        if following is not actor:
            if following is None:
                self.gate.release()
            else:
                self._give(following)
            actor.gate.acquire()
        actor.ready, actor.wakes_at = None, 0.0
        if actor.life.dead:
            raise DiedError

    def sleep(self, seconds: float) -> None:
        """Wait in virtual time."""
        self.hand_over("sleep", wakes_at=self.time + seconds)

    def violated(self, words: str) -> None:
        """End the simulation: a promise is broken."""
        self.broken = self.broken or words
        raise DiedError
