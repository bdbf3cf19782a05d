"""Figures for Prometheus: right, well-formed, and no more of them when there are more accounts."""

import psycopg
import pytest
import redis

from tests.web import scenes
from tests.web.exposition import Metric, read
from tests.web.serving import Client, served
from worker.config import Settings
from worker.local.valkey import RunningValkey

UNITS = ("_seconds", "_info", "_up")


def figures(client: Client) -> dict[str, Metric]:
    answer = client.get("/metrics")
    assert answer.code == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return read(answer.text)


def value(found: dict[str, Metric], name: str, **labels: str) -> float:
    return found[f"mailmirror_{name}"].samples[tuple(labels.items())]


def test_the_figures_are_those_of_the_database(client: Client, connection: psycopg.Connection) -> None:
    scenes.everything(connection)
    connection.execute(
        "UPDATE sync.accounts SET lease_owner = 'h:1:2', lease_until = now() + interval '1 min' WHERE id = 3"
    )
    connection.execute("UPDATE sync.accounts SET queued_until = now() + interval '20 s' WHERE id = 2")
    connection.execute("INSERT INTO sync.throttles VALUES ('other', now() + interval '90 s', 'x')")
    connection.execute("ANALYZE mail.messages")
    found = figures(client)
    assert value(found, "database_up") == 1
    assert [value(found, "accounts", status=state) for state in scenes.STATES] == [1] * 6
    assert value(found, "accounts_leased") == 1
    assert value(found, "workers_leasing") == 1
    assert value(found, "accounts_due", queue="live") == 1
    assert value(found, "accounts_queued", queue="live") == 1
    assert value(found, "dispatch_wait_seconds") == pytest.approx(600, abs=60)
    assert value(found, "poll_late_seconds", quantile="1") == pytest.approx(600, abs=60)
    assert value(found, "poll_late_seconds", quantile="0.5") == 0
    assert value(found, "poll_age_seconds", quantile="0.5") == pytest.approx(180, abs=60)
    assert value(found, "windows_open") == 3
    assert value(found, "accounts_unfinished") == 3
    assert value(found, "problems", kind="held_delete") == 1
    assert sum(found["mailmirror_problems"].samples.values()) == 6
    assert value(found, "messages_estimated") == 18
    assert value(found, "recent_runs", outcome="done") == 6
    assert value(found, "recent_runs", outcome="failed") == 1
    assert value(found, "recent_runs", outcome="partial") == 0
    assert value(found, "recent_messages", change="added") == 7 * 120
    assert value(found, "recent_requests") == 7 * 20
    assert value(found, "accounts_unequal") == 1
    assert value(found, "throttled_scopes") == 1
    assert value(found, "throttle_seconds") == pytest.approx(90, abs=60)
    assert not [name for name in found if "queue_messages" in name], "no broker, no figures of it"


def test_names_and_kinds_keep_to_the_conventions(client: Client, connection: psycopg.Connection) -> None:
    scenes.everything(connection)
    for name, metric in figures(client).items():
        assert name.startswith("mailmirror_")
        assert metric.kind == "gauge"
        assert not name.endswith(("_total", "_count", "_sum", "_bucket")), "these are for counters and histograms"
        assert ("second" in name) == name.endswith("_seconds")
        assert metric.meaning.endswith(".")


def test_a_larger_fleet_has_no_more_series(client: Client, connection: psycopg.Connection) -> None:
    scenes.everything(connection)
    before = {name: set(metric.samples) for name, metric in figures(client).items()}
    for number in range(100, 200):
        scenes.problem(connection, scenes.account(connection, number))
    found = figures(client)
    assert {name: set(metric.samples) for name, metric in found.items()} == before
    assert value(found, "accounts", status="active") == 101


def test_an_empty_database_has_figures_too(client: Client) -> None:
    found = figures(client)
    assert sum(found["mailmirror_accounts"].samples.values()) == 0
    assert found["mailmirror_poll_late_seconds"].samples == {}
    assert value(found, "dispatch_wait_seconds") == 0


def test_the_queue_is_asked_for_what_lies_in_it(settings: Settings, valkey: RunningValkey) -> None:
    queue = redis.Redis.from_url(valkey.url)
    queue.lpush("live", "a", "b", "c")
    queue.lpush("backfill", "a")
    now = queue.time()[0]
    queue.zadd("unacked_index", {"x": now - 50, "y": now - 5})
    queue.close()
    with served(_with_queue(settings, valkey.url)) as page:
        client = Client(page.port)
        found = figures(client)
        assert value(found, "queue_up") == 1
        assert value(found, "queue_messages", queue="live") == 3
        assert value(found, "queue_messages", queue="backfill") == 1
        assert value(found, "queue_unacknowledged") == 2
        assert value(found, "queue_oldest_unacknowledged_seconds") == pytest.approx(50, abs=30)
        assert "3 live, 1 backfill waiting; 2 taken" in client.shown("/")
        valkey.stop()
        assert value(figures(client), "queue_up") == 0
        assert "The queue does not answer." in client.shown("/")


def test_the_queue_s_password_is_never_shown(settings: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    with served(_with_queue(settings, f"redis://:{'canary'}@127.0.0.1:1/0")) as page:
        client = Client(page.port)
        texts = [client.get(path).text for path in ("/", "/metrics", "/readyz")]
    assert "canary" not in "".join([*texts, *capfd.readouterr()])


def _with_queue(settings: Settings, url: str) -> Settings:
    return Settings(database_url=settings.database_url, redis_url=url)
