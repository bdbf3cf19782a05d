"""Settings come from the environment, and wrong ones are named."""

from pathlib import Path

import pytest

from worker.config import (
    Settings,
    as_given,
    from_environment,
    origins,
    sqlalchemy_url,
    to_environment,
    unknown,
    variable_of,
)
from worker.errors import UsageError


def test_without_anything_set_the_defaults_hold() -> None:
    assert from_environment({}) == Settings()


def test_each_setting_is_read_from_its_variable() -> None:
    settings = from_environment(
        {
            "DATABASE_URL": "postgresql://db",
            "MAILMIRROR_DATA": "data",
            "MAILMIRROR_BODIES": "text",
            "MAILMIRROR_KEEP_RAW": "true",
            "MAILMIRROR_PAGE_SIZE": "50",
            "MAILMIRROR_REQUEST_TIMEOUT": "7.5",
        }
    )
    assert settings == Settings(
        database_url="postgresql://db",
        data=Path("data"),
        bodies="text",
        keep_raw=True,
        page_size=50,
        request_timeout=7.5,
    )


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MAILMIRROR_BODIES", "all"),
        ("MAILMIRROR_PAGE_SIZE", "0"),
        ("MAILMIRROR_PAGE_SIZE", "1001"),
        ("MAILMIRROR_PAGE_SIZE", "many"),
        ("MAILMIRROR_KEEP_RAW", "perhaps"),
        ("MAILMIRROR_PARALLEL_WINDOWS", "-1"),
        ("MAILMIRROR_REQUEST_TIMEOUT", "nan"),
        ("MAILMIRROR_REQUEST_TIMEOUT", "1000"),
        ("MAILMIRROR_REQUEST_TIMEOUT", "2m"),
        ("MAILMIRROR_POLL_SECONDS", "10 minutes"),
        ("MAILMIRROR_MAX_BODY", "16M"),
        ("MAILMIRROR_MAX_BODY", "1.5"),
        ("MAILMIRROR_MAX_BODY", "10s"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_variable(variable: str, value: str) -> None:
    with pytest.raises(UsageError, match=variable):
        from_environment({variable: value})


def test_sizes_and_times_are_read_with_their_units_or_without() -> None:
    settings = from_environment(
        {
            "MAILMIRROR_MAX_BODY": "512KiB",
            "MAILMIRROR_MAX_RESPONSE": "64MB",
            "MAILMIRROR_POLL_SECONDS": "10m",
            "MAILMIRROR_POLL_SLOWEST": "24h",
            "MAILMIRROR_BACK_OFF": "90",
        }
    )
    assert (settings.max_body, settings.max_response) == (512 * 1024, 64_000_000)
    assert (settings.poll_seconds, settings.poll_slowest, settings.back_off) == (600, 86_400, 90)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://mail.example/v1", "must begin with https://"),
        ("http://127.0.0.1.mail.example/v1", "must begin with https://"),
        ("https://a:sekret@mail.example/v1", "neither a user name"),
        ("https://mail.example/v1?key=sekret", "question mark"),
        ("ftp://mail.example", "https address"),
        ("https://", "https address"),
        ("https://mail.example:sekret/v1", "is no address"),
        ("https://[::1/v1", "is no address"),
    ],
)
def test_an_upstream_address_that_cannot_be_used(url: str, words: str) -> None:
    with pytest.raises(UsageError, match=f"MAILMIRROR_KLOUDLESS_URL.*{words}") as refused:
        from_environment({"MAILMIRROR_KLOUDLESS_URL": url})
    assert "sekret" not in str(refused.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:80/v1", "http://[::1]/v1", "http://localhost/v1", "https://x:8443"])
def test_an_upstream_on_this_machine_needs_no_encryption(url: str) -> None:
    assert from_environment({"MAILMIRROR_KLOUDLESS_URL": url}).kloudless_url == url


@pytest.mark.parametrize("url", ["http://x", "redis:6379", "redis", "x", "amqp://x"])
def test_another_queue_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="REDIS_URL must begin with redis://"):
        from_environment({"REDIS_URL": url})


def test_the_slowest_poll_is_never_the_faster_one() -> None:
    with pytest.raises(UsageError, match="MAILMIRROR_POLL_SLOWEST must not be below MAILMIRROR_POLL_SECONDS"):
        from_environment({"MAILMIRROR_POLL_SLOWEST": "30s"})
    assert from_environment({"MAILMIRROR_POLL_SECONDS": "10m"}).poll_slowest == 600


def test_an_unknown_variable_is_named_with_the_one_that_was_meant() -> None:
    assert unknown({"MAILMIRROR_KEYRING_FILE": "x", "MAILMIRROR_DEBUG": "1", "MAILMIRROR_TEST_SEED": "1"}) == []
    (said,) = unknown({"MAILMIRROR_XYZZY": "x"})
    assert said == "MAILMIRROR_XYZZY is no setting and changes nothing. All settings: mailmirror config"
    (said,) = unknown({"MAILMIRROR_KLOUDLES_URL": "x"})
    assert said == "MAILMIRROR_KLOUDLES_URL is no setting and changes nothing. Did you mean MAILMIRROR_KLOUDLESS_URL?"


def test_a_sentence_names_the_variable_that_was_given(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://db")
    (tmp_path / "empty").write_text("\n")
    files = {"DATABASE_URL_FILE": str(tmp_path / "url"), "REDIS_URL_FILE": str(tmp_path / "empty")}
    assert as_given("Is DATABASE_URL right? And REDIS_URL?", files) == "Is DATABASE_URL_FILE right? And REDIS_URL?"
    assert as_given("DATABASE_URL_FILE names x.", files) == "DATABASE_URL_FILE names x."


def test_a_wrong_size_or_time_is_answered_with_right_ones() -> None:
    with pytest.raises(UsageError, match=r"as in 512KiB, 16MiB or 1GiB, not '16M'\."):
        from_environment({"MAILMIRROR_MAX_BODY": "16M"})
    with pytest.raises(UsageError, match=r"as in 90s, 10m, 24h or 30d, not 'soon'\."):
        from_environment({"MAILMIRROR_POLL_SECONDS": "soon"})
    with pytest.raises(UsageError, match="between 0 B and 512 MiB, not 1 GiB"):
        from_environment({"MAILMIRROR_MAX_BODY": "1GiB"})


def test_each_value_has_its_origin(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://db")
    (tmp_path / "empty").write_text("\n")
    given = {
        "DATABASE_URL_FILE": str(tmp_path / "url"),
        "REDIS_URL_FILE": str(tmp_path / "empty"),
        "MAILMIRROR_PAGE_SIZE": "100",
    }
    found = origins(given)
    assert found["database_url"] == f"DATABASE_URL_FILE: {tmp_path / 'url'}"
    assert found["page_size"] == "environment"
    assert (found["redis_url"], found["bodies"]) == ("default", "default")


@pytest.mark.parametrize("name", Settings.__struct_fields__)
def test_every_setting_can_be_read_from_a_file(name: str, tmp_path: Path) -> None:
    usual = getattr(Settings(), name)
    text = "redis://db" if usual is None else str(usual).lower()
    (tmp_path / "value").write_text(f"{text}\n")
    given = from_environment({f"{variable_of(name)}_FILE": str(tmp_path / "value")})
    assert given == from_environment({variable_of(name): text})


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    assert from_environment({"REDIS_URL_FILE": str(tmp_path / "empty"), "DATABASE_URL_FILE": ""}) == Settings()


def test_a_value_and_a_file_for_it_exclude_each_other(tmp_path: Path) -> None:
    (tmp_path / "value").write_text("postgresql://one")
    both = {"DATABASE_URL": "postgresql://canary", "DATABASE_URL_FILE": str(tmp_path / "value")}
    with pytest.raises(UsageError, match="DATABASE_URL and DATABASE_URL_FILE are both set") as refused:
        from_environment(both)
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize(("content", "reason"), [(None, "No such file"), (b"\xff\xfe", "no text")])
def test_a_file_that_cannot_be_read_is_named(content: bytes | None, reason: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "value").write_bytes(content)
    with pytest.raises(UsageError, match=f"REDIS_URL_FILE names {tmp_path}/value, which cannot be read: .*{reason}"):
        from_environment({"REDIS_URL_FILE": str(tmp_path / "value")})


def test_another_process_reads_the_same_settings_wherever_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("keys").write_text("k:AAAA")
    settings = Settings(
        database_url="postgresql://db", data=Path("data"), keyring="keys", keep_raw=True, page_size=7, bodies="none"
    )
    inherited = {"DATABASE_URL_FILE": "/nowhere", "REDIS_URL": "redis://other", "MAILMIRROR_BODIES": "all", "LANG": "C"}
    environ = to_environment(settings, inherited)
    assert environ["LANG"] == "C"
    assert environ["MAILMIRROR_KEYRING"] == str(tmp_path / "keys")
    assert from_environment(environ).data == tmp_path / "data"
    assert from_environment(environ).redis_url is None
    monkeypatch.chdir("/")
    assert to_environment(from_environment(environ), {}) == {k: v for k, v in environ.items() if k != "LANG"}


@pytest.mark.parametrize("keyring", ["name:QUJD", "a" * 5000, "a\0b"])
def test_a_key_ring_that_is_no_file_is_handed_on_as_it_is(keyring: str) -> None:
    assert to_environment(Settings(keyring=keyring), {})["MAILMIRROR_KEYRING"] == keyring


def test_a_secret_is_never_shown() -> None:
    secret = "canary"
    assert Settings(kloudless_url=f"https://a:{secret}@x/v1").shown()["kloudless_url"] == "https://***@x/v1"
    settings = Settings(
        database_url=secret,
        redis_url=secret,
        kloudless_api_key=secret,
        keyring=secret,
        web_token=secret,
        kloudless_url="https://x/v1",
    )
    assert secret not in str(settings.shown())
    assert secret not in repr(settings)


def test_every_setting_has_a_variable_of_its_own() -> None:
    variables = {variable_of(name) for name in Settings.__struct_fields__}
    assert len(variables) == len(Settings.__struct_fields__)
    assert {"DATABASE_URL", "REDIS_URL"} <= variables


@pytest.mark.parametrize("url", ["mysql://x", "x", "", "postgresql+asyncpg://x"])
def test_another_database_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="postgresql://"):
        sqlalchemy_url(url)


def test_a_missing_database_says_what_to_set() -> None:
    with pytest.raises(UsageError, match="DATABASE_URL"):
        Settings().require_database()
