"""Automation: what makes automatic backups happen.

A schedule runs the tick every minute. The tick finds what is due (`claims`) and hands it to the
workers (`handover`), who make it (`work`). What is due and what is done is in our own rows; the
queue only carries ids, and may carry them twice. Only `queue` knows django-q2.
"""

from tenant_backup.automation.claims import is_due, take_due
from tenant_backup.automation.handover import enqueue, is_for_a_worker
from tenant_backup.automation.queue import set_up, take_down
from tenant_backup.automation.reverification import enqueue_verify, verify
from tenant_backup.automation.status import (
    AutomationState,
    AutomationStatus,
    get_status,
    is_paused,
    pause,
    resume,
)
from tenant_backup.automation.ticks import end_tick, forget, set_up_after_migrate, tick
from tenant_backup.automation.trouble import notify
from tenant_backup.automation.work import make, perform, retry_after_failure

__all__ = [
    "AutomationState",
    "AutomationStatus",
    "end_tick",
    "enqueue",
    "enqueue_verify",
    "forget",
    "get_status",
    "is_due",
    "is_for_a_worker",
    "is_paused",
    "make",
    "notify",
    "pause",
    "perform",
    "resume",
    "retry_after_failure",
    "set_up",
    "set_up_after_migrate",
    "take_down",
    "take_due",
    "tick",
    "verify",
]
