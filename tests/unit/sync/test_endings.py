"""Each error means one thing for its account."""

import inspect

import pytest

from worker import errors
from worker.errors import (
    AccountGoneError,
    CredentialRefusedError,
    MailmirrorError,
    ThrottledError,
    UnreachableError,
    UpstreamFailedError,
)
from worker.sync.endings import (
    APP_WAIT,
    GONE_AFTER,
    LONGEST,
    TABLE,
    consequence,
    is_app_wide,
    next_poll,
    pause,
    shared_wait,
)


def test_every_error_has_a_consequence() -> None:
    tree = [e for _, e in inspect.getmembers(errors, inspect.isclass) if issubclass(e, MailmirrorError)]
    assert all(any(issubclass(error, kind) for kind, _ in TABLE) for error in tree)


def test_a_refused_credential_waits_for_a_person() -> None:
    after = consequence(CredentialRefusedError("no", scope="token"))
    assert after.status == "auth_required"
    assert not after.waits


@pytest.mark.parametrize(("failures", "seconds"), [(1, 10), (2, 20), (5, 160), (9999, LONGEST)])
def test_the_pause_grows_with_failures_in_a_row_up_to_an_hour(failures: int, seconds: float) -> None:
    assert pause(UnreachableError("no", kind="connect"), failures, back_off=10.0) == seconds


def test_the_upstream_says_how_long_to_wait() -> None:
    assert pause(ThrottledError("slow down", retry_after=7.0, scope="account"), failures=9, back_off=10.0) == 7.0


def test_a_failing_upstream_that_names_a_time_is_left_alone_until_then() -> None:
    assert pause(UpstreamFailedError("no", status=503, retry_after=40.0), failures=1, back_off=10.0) == 40.0
    assert pause(UpstreamFailedError("no", status=503), failures=1, back_off=10.0) == 10.0


def test_a_quiet_account_is_polled_less_often_and_a_change_brings_it_back() -> None:
    seconds = next_poll(None, changed=False, fastest=60.0, slowest=300.0)
    paces = [seconds]
    for _ in range(20):
        seconds = next_poll(seconds, changed=False, fastest=60.0, slowest=300.0)
        paces.append(seconds)
    assert paces[0] == 60.0
    assert paces == sorted(paces)
    assert paces[-1] == 300.0
    assert next_poll(seconds, changed=True, fastest=60.0, slowest=300.0) == 60.0


def test_a_refused_app_key_is_no_accounts_fault() -> None:
    error = CredentialRefusedError("no", scope="app")
    assert consequence(error).status is None
    assert is_app_wide(error)
    assert pause(error, failures=1, back_off=10.0) == APP_WAIT


@pytest.mark.parametrize("scope", ["token", "service"])
def test_a_refusal_that_all_accounts_of_a_service_meet_marks_none_of_them(scope: str) -> None:
    error = CredentialRefusedError("no", scope=scope)
    assert shared_wait(error) == (("CredentialRefusedError", "ForbiddenError"), APP_WAIT)
    assert consequence(error, shared=True).status is None
    assert consequence(error, shared=False).status == "auth_required"


def test_an_outage_backs_off_alone_or_together_and_what_is_about_one_account_is_not_looked_for_elsewhere() -> None:
    outage = UpstreamFailedError("no", status=503)
    assert shared_wait(outage) == (("UpstreamFailedError", "UnreachableError"), 60.0)
    assert consequence(outage, shared=True).status == "backing_off"
    assert shared_wait(AccountGoneError("no such account")) is None
    assert shared_wait(CredentialRefusedError("no", scope="app")) is None


def test_an_account_is_gone_only_when_the_upstream_says_so_again_an_hour_later() -> None:
    error = AccountGoneError("no such account")
    assert consequence(error, failing_for=0.0).status == "backing_off"
    assert pause(error, failures=1, back_off=10.0) == GONE_AFTER
    assert consequence(error, failing_for=GONE_AFTER).status == "gone"
