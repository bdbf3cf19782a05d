"""Each error means one thing for its account."""

import inspect

import pytest

from worker import errors
from worker.errors import CredentialRefusedError, MailmirrorError, ThrottledError, UnreachableError
from worker.sync.endings import LONGEST, TABLE, consequence, pause


def test_every_error_has_a_consequence() -> None:
    tree = [e for _, e in inspect.getmembers(errors, inspect.isclass) if issubclass(e, MailmirrorError)]
    assert all(any(issubclass(error, kind) for kind, _ in TABLE) for error in tree)


def test_a_refused_credential_waits_for_a_person() -> None:
    after = consequence(CredentialRefusedError("no", scope="token"))
    assert after.status == "auth_required"
    assert not after.waits


@pytest.mark.parametrize(("failures", "seconds"), [(1, 30), (2, 60), (5, 480), (30, LONGEST)])
def test_the_pause_grows_with_failures_in_a_row_up_to_an_hour(failures: int, seconds: float) -> None:
    assert pause(UnreachableError("no", kind="connect"), failures) == seconds


def test_the_upstream_says_how_long_to_wait() -> None:
    assert pause(ThrottledError("slow down", retry_after=7.0, scope="account"), failures=9) == 7.0
