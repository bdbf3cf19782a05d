"""Settings come from the environment, and wrong ones are named."""

from pathlib import Path

import pytest

from worker.config import Settings, from_environment, sqlalchemy_url, variable_of
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
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_variable(variable: str, value: str) -> None:
    with pytest.raises(UsageError, match=variable):
        from_environment({variable: value})


def test_a_secret_is_never_shown() -> None:
    secret = "canary"
    settings = Settings(
        database_url=secret, redis_url=secret, kloudless_api_key=secret, keyring=secret, kloudless_url="https://x/v1"
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
