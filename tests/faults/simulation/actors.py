"""Who acts in a simulation besides the engine: workers, the mailbox's owner, the upstream's moods, death, and time."""

from random import Random

from tests.faults.simulation.baton import Baton, Life
from tests.faults.simulation.processes import Process, Scene
from worker.errors import CredentialRefusedError, LeaseError, MailmirrorError, ThrottledError
from worker.records import Queue
from worker.sandbox.faults import Fault

MOODS: tuple[dict[str, object], ...] = (
    {"kind": "rate_limit", "args": {"retry_after": 5}},
    {"kind": "rate_limit", "count": 2, "args": {"retry_after": None}},
    {"kind": "server_error", "count": 1},
    {"kind": "server_error", "count": 4, "args": {"status": 500}},
    {"kind": "server_error", "count": 3, "route": "get"},
    {"kind": "server_error", "count": 3, "route": "list"},
    {"kind": "reset", "count": 2},
    {"kind": "html_404", "count": 2},
    {"kind": "error_200", "count": 1},
    {"kind": "html_200", "count": 2, "route": "list"},
    {"kind": "page_token_expired", "count": 1},
    {"kind": "page_token_expired", "count": 5},
    {"kind": "cursor_expired", "count": 1},
    {"kind": "cursor_expired", "count": 1, "args": {"mode": "410"}},
    {"kind": "events_duplicated", "count": 3},
    {"kind": "event_without_id", "count": 1},
    {"kind": "cursor_stuck", "count": 2},
    {"kind": "next_page_loop", "count": 1},
    {"kind": "repeat_on_next_page", "count": 4},
    {"kind": "empty_page", "count": 1},
)
"""What may go wrong for a while, as the sandbox knows it."""


class Stage:
    """Lets the actors of a plan begin, and says when they are done."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._baton: Baton = scene.baton
        self._plan = scene.plan
        self._nature = Life("nature")
        self._busy = 0
        self._born = 0
        self.resting = False
        """Whether workers finish what they are doing and begin nothing more."""

    @property
    def done(self) -> bool:
        """Whether nothing more happens to the mailbox, the upstream or the workers."""
        return self._busy == 0

    def begin(self) -> None:
        """Let everybody begin."""
        plan, baton = self._plan, self._baton
        _, user, moods, death = plan.weights
        for _ in range(plan.workers):
            self.hire()
        self._nature_does("user", user, self._edit, plan.edits, (0.0, 0.0, 0.5, 3.0, 20.0))
        self._nature_does("purge", user, self._purge, plan.purges, (5.0, 60.0))
        self._nature_does("upstream", moods, self._mood, plan.faults, (0.5, 5.0, 40.0))
        self._nature_does("death", death, self._crash, plan.crashes, (0.5, 5.0, 40.0))
        self._nature_does("stall", death, self._stall, plan.stalls, (0.5, 5.0, 40.0))
        baton.spawn("time", self._nature, self._pass_time, weight=plan.leaps)

    def hire(self) -> None:
        """Start a worker process."""
        self._born += 1
        process = Process(self._scene, f"worker {self._born}")
        dice = Random(f"{process.name} of {self._plan.seed}")
        self._baton.spawn(process.name, process, lambda: self._work(process, dice), weight=self._plan.weights[0])

    # --- workers

    def _work(self, process: Process, dice: Random) -> None:
        """Look who is due, as the task `dispatch` does; now and then a person's command comes between."""
        mirror, baton = process.mirror, self._baton
        queues: tuple[Queue, Queue] = ("live", "backfill")
        while not self.resting:
            baton.hand_over("look who is due")
            try:
                if dice.random() < 0.2:
                    mirror.tidy()
                for queue in queues:
                    for account_id in mirror.pick(queue):
                        self._turn(process, account_id, queue)
                if dice.random() < 0.15 and not self.resting:
                    self._turn(process, self._scene.account_id, None)
            except MailmirrorError as error:
                baton.note(f"look: {type(error).__name__}")
            baton.sleep(dice.choice((1.0, 5.0)))
        process.close()

    def _turn(self, process: Process, account_id: int, queue: Queue | None) -> None:
        """One turn, as the task `sync_account` or the command `sync` takes it."""
        mirror, baton = process.mirror, self._baton
        baton.note(f"turn begins ({queue})")
        try:
            if queue is None:
                end = baton.time + 20.0
                mirror.sync(account_id, stop=lambda: baton.time > end)
            else:
                mirror.take_turn(account_id, queue)
        except LeaseError as error:
            baton.note(f"turn: {type(error).__name__}")
            if queue is not None:
                mirror.unmark(account_id, queue)
        except (ThrottledError, CredentialRefusedError) as error:
            baton.note(f"turn: {type(error).__name__}")
            mirror.throttle(account_id, error)
        else:
            baton.note("turn ends")

    # --- nature

    def _nature_does(self, name: str, weight: float, act: object, times: int, pauses: tuple[float, ...]) -> None:
        if not times:
            return
        assert callable(act)
        dice = Random(f"{name} of {self._plan.seed}")
        self._busy += 1

        def live() -> None:
            for _ in range(times):
                self._baton.sleep(dice.choice(pauses))
                act(dice)
            self._busy -= 1

        self._baton.spawn(name, self._nature, live, weight=weight)

    def _edit(self, dice: Random) -> None:
        self._baton.note(self._scene.upstream.change(dice))

    def _purge(self, dice: Random) -> None:
        self._baton.note(f"deletes {self._scene.upstream.purge(dice, dice.choice((0.3, 1.0)))}")

    def _mood(self, dice: Random) -> None:
        mood = dice.choice(MOODS)
        self._baton.note(f"the upstream is in a mood: {mood}")
        self._scene.upstream.arm(Fault(**mood))  # type: ignore[arg-type]  # as the table says

    def _crash(self, dice: Random) -> None:
        victims = self._scene.alive()
        if not victims:
            return
        victim, how = dice.choice(victims), dice.choice(("now", "now", "in its next commit", "answer lost"))
        self._baton.note(f"{victim.name} dies: {how}" if how != "answer lost" else f"{victim.name}: {how}")
        if how == "answer lost":
            victim.loses_answer = True
            return
        if how == "now":
            victim.kill()
            self._scene.invariants.unchanged(how)
        else:
            victim.dies_in_commit = True
        self._baton.sleep(dice.choice((0.5, 5.0, 100.0)))
        self.hire()

    def _stall(self, dice: Random) -> None:
        victims = self._scene.alive()
        if not victims:
            return
        victim = dice.choice(victims)
        seconds = dice.choice((30.0, 95.0, 300.0))
        self._baton.note(f"{victim.name} is stopped for {seconds} s")
        victim.stopped_until = self._baton.time + seconds

    def _pass_time(self) -> None:
        dice = Random(f"time of {self._plan.seed}")
        while not self.resting:
            self._baton.hand_over("pass")
            self._baton.time += dice.choice(
                (0.2, 1.0, 1.0, 5.0, 30.0) if dice.random() < 0.97 else (100.0, 3700.0, 90_000.0)
            )
