"""The tenants that a request is about: asked of the provider, and judged, once a request."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.utils import timezone

from tenant_backup import automation, monitoring
from tenant_backup.admin.verdicts import verdicts_of
from tenant_backup.automation import AutomationState, AutomationStatus
from tenant_backup.models import BackupSettings, Verdict
from tenant_backup.tenants import InvalidTenant, Tenant, list_tenants

logger = logging.getLogger("tenant_backup")


@dataclass(frozen=True, slots=True)
class TenantsOfRequest:
    """All tenants, as they stand when the request first asks."""

    names: Mapping[str, str]
    """The name of each tenant that has a row; where it is unknown, the tenant's id."""
    tenants: Mapping[str, Tenant]
    """The valid tenants of the provider, by id."""
    verdicts: Mapping[str, Verdict]
    """How each tenant with a row stands, by id."""
    listed: Set[str]
    """The ids of all tenants that the provider lists, valid or not."""
    automation_status: AutomationStatus
    invalid: Sequence[InvalidTenant] = ()
    """Why tenants that the provider lists are not valid."""
    trouble: str = ""
    """Why the provider failed; empty where it did not."""

    @classmethod
    def of(cls, request: HttpRequest) -> TenantsOfRequest:
        kept: dict[str, Any] = vars(request)
        if "_tenant_backup_tenants" not in kept:
            kept["_tenant_backup_tenants"] = cls.ask()
        found: TenantsOfRequest = kept["_tenant_backup_tenants"]
        return found

    @classmethod
    def ask(cls) -> TenantsOfRequest:
        """Ask the provider, and make the settings of new tenants."""
        rows = set(BackupSettings.objects.values_list("tenant_id", flat=True))
        status, now = automation.get_status(), timezone.now()
        automation_runs = is_running(status)
        try:
            listing = list_tenants()
            tenants = {tenant.id: tenant for tenant in listing.tenants}
            if new := tenants.keys() - rows:
                BackupSettings.objects.ensure(new)
                rows |= new
            given = {tenant.id: str(tenant.name) for tenant in listing.tenants}
        except Exception as error:
            logger.exception("The tenant provider failed; the admin cannot list the tenants.")
            trouble = str(error) or type(error).__name__
            verdicts = monitoring.verdicts_as_noted(now, automation_runs=automation_runs)
            return cls({row: row for row in rows}, {}, verdicts, set(), status, trouble=trouble)
        return cls(
            names={row: given.get(row) or row for row in rows},
            tenants=tenants,
            verdicts=verdicts_of(listing, now, automation_runs=automation_runs),
            listed=listing.ids,
            automation_status=status,
            invalid=listing.invalid,
        )

    def matching(self, words: str) -> list[str]:
        """The ids of the tenants that have all these words in their id or their name."""
        wanted = words.casefold().split()
        texts = {key: f"{key} {name}".casefold() for key, name in self.names.items()}
        return [key for key, text in texts.items() if all(word in text for word in wanted)]


def is_running(status: AutomationStatus) -> bool:
    """Whether workers are there to make a backup, or to verify one."""
    return status.state is AutomationState.RUNNING
