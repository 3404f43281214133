"""Monitoring: which tenants need attention, and who is notified.

`verdict` judges a tenant by facts, which `judgements` gathers. `notices` notes what is new and
decides who is notified and when, and `mails` writes to them. `absence` knows the tenants that have
disappeared, and `disk_space` the full disks. `moments` says how they all tell a time. `recipients`
sends test mails. `heartbeat` calls an address after each tick.
"""

from tenant_backup.models import Verdict
from tenant_backup.monitoring.absence import retire_tenant as retire
from tenant_backup.monitoring.judgements import (
    judge_all,
    judge_invalid,
    judge_others,
    judge_tenant,
    judge_unlisted,
    verdicts_as_noted,
    wrong_since,
)
from tenant_backup.monitoring.mails import Condition
from tenant_backup.monitoring.moments import in_one_zone, moment_in_words
from tenant_backup.monitoring.notices import notify, tell_of_request
from tenant_backup.monitoring.recipients import operators_addresses, send_test_mail
from tenant_backup.monitoring.verdict import Finding, Judgement

__all__ = [
    "Condition",
    "Finding",
    "Judgement",
    "Verdict",
    "in_one_zone",
    "judge_all",
    "judge_invalid",
    "judge_others",
    "judge_tenant",
    "judge_unlisted",
    "moment_in_words",
    "notify",
    "operators_addresses",
    "retire",
    "send_test_mail",
    "tell_of_request",
    "verdicts_as_noted",
    "wrong_since",
]
