"""The two tasks: look who is due, and do one account's turn. Thin: ids in, the engine, what an error means here."""

import logging
import traceback
from typing import Any

from kombu.exceptions import OperationalError

from worker import celery
from worker.errors import (
    CredentialRefusedError,
    LeaseError,
    MailmirrorError,
    StoreUnavailableError,
    ThrottledError,
    UsageError,
)
from worker.records import Queue

log = logging.getLogger("mailmirror")

QUEUES: tuple[Queue, ...] = ("live", "backfill")


@celery.app.task(name="mailmirror.dispatch")
def dispatch() -> None:
    """Ring for every account that is due, as many as fit into the queues."""
    try:
        mirror = celery.mirror()
        for account_id in mirror.tidy():
            log.info("Account %s, held up by a dead worker or a clock that went back, is free again", account_id)
        for queue in QUEUES:
            for account_id in mirror.pick(queue, celery.waiting(queue)):
                sync_account.apply_async((account_id,), queue=queue)
    except MailmirrorError as error:
        log.warning("Nothing dispatched: %s", error)
    except OperationalError as error:
        # The queue is full or away; what was marked and not rung for is picked again when its mark has worn off.
        place = celery.app.connection_for_write().as_uri()  # its password masked
        log.warning("The queue takes nothing now: %s at %s", type(error.__cause__ or error).__name__, place)


@celery.app.task(name="mailmirror.sync_account", bind=True)
def sync_account(self: Any, account_id: int) -> None:
    """Do one account's turn; whatever comes of it is noted in Postgres, so the task itself never fails."""
    queue = _queue(self.request.delivery_info)
    if type(account_id) is not int:
        # Whoever can write to the queue could have put anything there; it is not even repeated.
        log.warning("A task was refused that names no account")
        return
    try:
        mirror = celery.mirror()
        try:
            report = mirror.take_turn(account_id, queue)
        except LeaseError:
            mirror.unmark(account_id, queue)
        except (ThrottledError, CredentialRefusedError) as error:
            mirror.throttle(account_id, error)
            log.info("Account %s (%s): %s", account_id, queue, error)
        else:
            totals = report.totals
            if totals.added or totals.updated or totals.tombstoned or totals.revived:
                log.info(
                    "Account %s (%s): %s added, %s updated, %s deleted in %.1f s",
                    account_id,
                    queue,
                    totals.added + totals.revived,
                    totals.updated,
                    totals.tombstoned,
                    report.seconds,
                )
    except (UsageError, StoreUnavailableError) as error:
        # The account may be gone or paused by now, or Postgres away: either way the next look decides.
        log.warning("Account %s (%s): %s", account_id, queue, error)
    except MailmirrorError as error:
        log.info("Account %s (%s): %s", account_id, queue, error)
    except Exception as error:  # noqa: BLE001  # the last line before Celery, which would log its words
        # Its words may hold mail, so only its kind and place are told.
        place = "".join(traceback.format_tb(error.__traceback__))
        log.error("Account %s (%s): unexpected %s\n%s", account_id, queue, type(error).__name__, place)  # noqa: TRY400


def _queue(delivery: dict[str, Any] | None) -> Queue:
    return "backfill" if (delivery or {}).get("routing_key") == "backfill" else "live"
