"""Status, error code and what was asked (kloudless-api.md 5.2)."""

from typing import Any

import pytest

from worker.errors import (
    AccountGoneError,
    CredentialRefusedError,
    CursorLostError,
    ForbiddenError,
    MailmirrorError,
    NotFoundError,
    PageTokenLostError,
    ThrottledError,
    UnreadableError,
    UnsupportedError,
    UpstreamFailedError,
)
from worker.sources._refusals import RULES, Call, Means, Refusal, error_of, meaning, own_error

ANY = tuple(Call)
ACTIVITY = (Call.START_ACTIVITY, Call.ACTIVITY, Call.ACTIVITY_AFTER)
OTHERS = tuple(call for call in Call if call not in ACTIVITY)
AT_REST = (Call.ACCOUNT, Call.LISTING, Call.MESSAGE, Call.START_ACTIVITY, Call.ACTIVITY)

CASES: list[tuple[int, str | None, tuple[Call, ...], type[MailmirrorError]]] = [
    (429, "too_many_requests", ANY, ThrottledError),
    (429, "too_many_service_requests", ANY, ThrottledError),
    (429, "anything", ANY, ThrottledError),
    (403, "too_many_requests", ANY, ThrottledError),
    (503, "too_many_service_requests", ANY, ThrottledError),
    (401, "unauthorized", ANY, CredentialRefusedError),
    (401, "service_unauthorized", ANY, CredentialRefusedError),
    (401, "invalid_token", ANY, CredentialRefusedError),
    (401, None, ANY, CredentialRefusedError),
    (400, "invalid_parameters", (Call.TOKEN,), CredentialRefusedError),
    (400, "bad_request", (Call.TOKEN,), CredentialRefusedError),
    (400, "invalid_parameters", (Call.ACTIVITY_AFTER,), CursorLostError),
    (400, "bad_request", (Call.ACTIVITY_AFTER,), CursorLostError),
    (404, "not_found", (Call.ACTIVITY_AFTER,), CursorLostError),
    (410, "anything", (Call.ACTIVITY_AFTER,), CursorLostError),
    (400, "invalid_parameters", (Call.LISTING_PAGE,), PageTokenLostError),
    (404, "not_found", (Call.LISTING_PAGE,), PageTokenLostError),
    (410, "not_found", (Call.LISTING_PAGE,), PageTokenLostError),
    (400, "request_failed", (Call.ACTIVITY_AFTER, Call.LISTING_PAGE, Call.MESSAGE), UnreadableError),
    (400, "invalid_parameters", AT_REST, UnreadableError),
    (403, "forbidden", ACTIVITY, UnsupportedError),
    (403, "service_forbidden", ACTIVITY, UnsupportedError),
    (405, "method_not_allowed", ACTIVITY, UnsupportedError),
    (501, "not_implemented", ANY, UnsupportedError),
    (404, "not_found", (Call.START_ACTIVITY, Call.ACTIVITY), UnsupportedError),
    (409, "naming_conflict", (Call.START_ACTIVITY,), UnsupportedError),
    (403, "forbidden", OTHERS, ForbiddenError),
    (403, "permission_denied", (Call.MESSAGE, Call.NAME), ForbiddenError),
    (404, "not_found", (Call.ACCOUNT, Call.LISTING), AccountGoneError),
    (410, "not_found", (Call.ACCOUNT, Call.LISTING), AccountGoneError),
    (404, "not_found", (Call.MESSAGE, Call.NAME), NotFoundError),
    (410, "not_found", (Call.MESSAGE, Call.NAME), NotFoundError),
    (404, "anything", (Call.ACCOUNT, Call.LISTING, Call.MESSAGE, Call.NAME), UnreadableError),
    (404, None, (Call.ACCOUNT, Call.LISTING, Call.MESSAGE, Call.NAME), UnreadableError),
    (400, "invalid_parameters", (Call.NAME,), UnsupportedError),
    (405, "method_not_allowed", (Call.NAME,), UnsupportedError),
    (405, "method_not_allowed", (Call.LISTING, Call.MESSAGE, Call.ACCOUNT), UnreadableError),
    (406, "not_acceptable", ANY, UnreadableError),
    (500, "internal_error", ANY, UpstreamFailedError),
    (500, "method_not_allowed", ANY, UpstreamFailedError),
    (502, "bad_gateway", ANY, UpstreamFailedError),
    (503, "service_not_available", ANY, UpstreamFailedError),
    (504, "gateway_timeout", ANY, UpstreamFailedError),
    (507, "insufficient_storage", ANY, UpstreamFailedError),
    (599, "unheard_of", ANY, UpstreamFailedError),
    (418, "unheard_of", ANY, UnreadableError),
]


@pytest.mark.parametrize(("status", "code", "calls", "expected"), CASES)
def test_the_apis_own_error_means(
    status: int, code: str | None, calls: tuple[Call, ...], expected: type[MailmirrorError]
) -> None:
    for call in calls:
        error = error_of(Refusal(call, status, code, own=True))
        assert type(error) is expected, call
        assert str(error).endswith(".")


@pytest.mark.parametrize("call", Call)
@pytest.mark.parametrize("status", [100, 204, 206, 301, 304, 400, 401, 403, 404, 405, 409, 410, 418, 499])
def test_another_bodys_status_never_blames_account_cursor_or_message(call: Call, status: int) -> None:
    assert meaning(Refusal(call, status, None, own=False)) is Means.UNREADABLE


@pytest.mark.parametrize("status", [408, 425, *range(500, 600, 7), 501, 599])
def test_another_bodys_failure_is_a_failure(status: int) -> None:
    assert meaning(Refusal(Call.LISTING, status, None, own=False)) is Means.FAILED


def test_a_limit_is_a_limit_whoever_says_so() -> None:
    error: Any = error_of(Refusal(Call.LISTING, 429, None, own=False, retry_after=7.0))
    assert (type(error), error.scope, error.retry_after) == (ThrottledError, "account", 7.0)


@pytest.mark.parametrize(
    ("code", "app_wide", "scope"),
    [
        ("service_unauthorized", False, "service"),
        ("service_unauthorized", True, "service"),
        ("unauthorized", False, "token"),
        ("unauthorized", True, "app"),
        (None, True, "app"),
    ],
)
def test_whose_credential_is_refused(code: str | None, app_wide: bool, scope: str) -> None:
    error: Any = error_of(Refusal(Call.LISTING, 401, code, own=True, app_wide=app_wide))
    assert error.scope == scope


def test_errors_carry_status_and_code() -> None:
    failed: Any = error_of(Refusal(Call.LISTING, 502, "bad_gateway", own=True))
    assert (failed.status, failed.error_code) == (502, "bad_gateway")
    forbidden: Any = error_of(Refusal(Call.LISTING, 403, "service_forbidden", own=True))
    assert forbidden.error_code == "service_forbidden"


def test_every_row_of_the_table_is_reached() -> None:
    reached = set()
    codes = {None, "x", *(code for rule in RULES for code in rule.codes or ())}
    for call in Call:
        for status in range(100, 600):
            for code in codes:
                for own in (True, False):
                    refusal = Refusal(call, status, code, own)
                    found = next(
                        number
                        for number, rule in enumerate(RULES)
                        if (own or not rule.own)
                        and (rule.status is None or status in rule.status)
                        and (rule.codes is None or code in rule.codes)
                        and (rule.calls is None or call in rule.calls)
                    )
                    assert RULES[found].means is meaning(refusal)
                    reached.add(found)
    assert reached == set(range(len(RULES)))


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (404, b'{"error_code":"not_found"}', (404, "not_found", True)),
        (404, b'{"error_code":"two words"}', (404, None, True)),
        (404, b'{"error_code":404}', (404, None, False)),
        (404, b'{"detail":"Not found."}', (404, None, False)),
        (404, b'["error_code"]', (404, None, False)),
        (404, b"", (404, None, False)),
        (404, b"<html>", (404, None, False)),
        (404, b'{"error_code":"not_found","message":"\\ud800\xff"}', (404, "not_found", True)),
        (404, b"[" * 100_000, (404, None, False)),
        (404, b'{"error_code":"' + b"x" * 100 + b'"}', (404, None, True)),
        (404, b'{"error_code":"x"' + b" " * 70_000 + b"}", (404, None, False)),
        (200, b'{"error_code":"not_found","status_code":404}', (404, "not_found", True)),
        (200, b'{"error_code":"not_found","status_code":"404"}', (404, "not_found", True)),
        (200, b'{"error_code":"not_found","status_code":200}', (200, None, False)),
        (200, b'{"error_code":"not_found"}', (200, None, False)),
        (200, b'{"id":"m"}', (200, None, False)),
    ],
)
def test_the_apis_own_error_is_told_from_other_bodies(
    status: int, body: bytes, expected: tuple[int, str | None, bool]
) -> None:
    assert own_error(status, body) == expected
