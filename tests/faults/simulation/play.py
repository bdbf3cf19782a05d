"""One simulation from a seed to its verdict."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from msgspec import Struct

from tests.faults.simulation.actors import Stage
from tests.faults.simulation.baton import Baton
from tests.faults.simulation.plan import drawn
from tests.faults.simulation.postgres import Postgres
from tests.faults.simulation.processes import Process, Scene, staged
from tests.faults.simulation.seeds import VARIABLE
from tests.faults.simulation.stand_ins import conducted
from tests.faults.simulation.upstream import Upstream
from worker.errors import MailmirrorError
from worker.store import accounts

COMMAND = ".venv/bin/pytest tests/faults/test_simulation.py"
LAST_LINES = 40
TOLD = (
    "dies: now", "dies before COMMIT", "its answer is lost", "is stopped for", "UpstreamFailedError",
    "ThrottledError", "UnreachableError", "UnreadableError", "CursorLostError", "PageTokenLostError",
    "LeaseHeldError", "commit of activity: LeaseLostError", "commit of windows: LeaseLostError", "turn: LeaseLostError",
)  # fmt: skip
"""Words of a trace that say of a fault that it struck."""
LONG_ENOUGH = 34 * 86_400.0
"""Seconds after which every window has become due, and every cursor old."""


class Played(Struct, frozen=True):
    """What a simulation was."""

    trace: tuple[str, ...]
    steps: int
    checks: int
    """How often the invariants were looked at."""
    happened: Counter[str]
    """What went wrong how often: lies of the upstream, and errors and deaths as the trace names them."""


def play(seed: int, postgres: Postgres) -> Played:
    """Simulate what the seed means; raises AssertionError with the trace's end and how to repeat it."""
    plan = drawn(seed)
    baton = Baton(seed, plan.stickiness)
    upstream = Upstream(plan, lambda: baton.time)
    postgres.clear()
    scene = Scene(plan, baton, upstream, postgres)
    try:
        with conducted(baton) as patch, _described(scene):
            staged(scene, patch)
            _begin(scene)
            _to_rest(scene)
        return Played(tuple(baton.trace), baton.steps, scene.invariants.checks, _happened(scene))
    finally:
        for process in scene.processes:
            process.close()
        upstream.world.close()


def _happened(scene: Scene) -> Counter[str]:
    said = Counter(word for line in scene.baton.trace for word in TOLD if word in line)
    return scene.upstream.happened + said


@contextmanager
def _described(scene: Scene) -> Iterator[None]:
    """Say of a failure what it was, what came before it, and how to see it again."""
    baton = scene.baton
    try:
        yield
    except Exception as error:
        error.add_note(
            "\n".join(
                (f"{scene.plan}", *baton.trace[-LAST_LINES:], f"Repeat with: {VARIABLE}={scene.plan.seed} {COMMAND}")
            )
        )
        raise
    finally:
        for process in scene.alive():
            process.kill()
        baton.end()


def _begin(scene: Scene) -> None:
    """Add the account and let everything happen until nature rests and the workers have ended."""
    postgres, baton = scene.postgres, scene.baton
    postgres.tell(0.0)
    first = Process(scene, "setup")
    account = accounts.add(first.engine, kind="kloudless", upstream_id=str(scene.upstream.account.id))
    scene.account_id = account.id
    first.close()
    stage = Stage(scene)
    stage.begin()
    baton.play(lambda: stage.done)
    stage.resting = True
    baton.play(lambda: False)


def _to_rest(scene: Scene) -> None:
    """Let the upstream behave: events alone must do, then a last full look must find nothing more."""
    scene.upstream.rest()
    _alone(scene, "at rest", 1200.0, lambda mirror: mirror.sync(scene.account_id, stop=lambda: False))
    _alone(scene, "last look", LONG_ENOUGH, lambda mirror: mirror.sync(scene.account_id, stop=lambda: False))
    for _ in range(8):
        problems = scene.postgres.rows("select kind from sync.problems where state = 'open'")
        if not problems:
            break
        if ("held_delete",) in problems:
            _alone(scene, "person", 60.0, lambda mirror: mirror.confirm_deletes(scene.account_id))
        _alone(scene, "again", 90_000.0, lambda mirror: mirror.sync(scene.account_id, stop=lambda: False))
    scene.invariants.at_the_end()


def _alone(scene: Scene, name: str, after: float, act: Callable[..., object]) -> None:
    """Let a process of its own do something, with nobody else at work."""
    baton = scene.baton
    baton.time += after
    process = Process(scene, name)

    def work() -> None:
        for _ in range(20):
            try:
                act(process.mirror)
            except MailmirrorError as error:
                baton.note(f"{type(error).__name__}: {error}")
                baton.sleep(100.0)
            else:
                break
        else:
            baton.violated(f"I1: {name}: every attempt fails")

    baton.spawn(name, process, work)
    baton.play(lambda: False)
    process.close()
