"""Backups dated in the future: when they were made, the clock was wrong."""

from __future__ import annotations

import logging

from django.utils import timezone

from tenant_backup.models import Backup

logger = logging.getLogger("tenant_backup")

SEVERAL = 5
"""So many backups dated in the future, and more than all others, and today's clock is doubted."""


def note_future(tenant_id: str | None = None) -> None:
    """Mark for good the complete backups, of one tenant or of all, that are dated in the future.

    The clock was wrong when they were made, so they never count, not even when that date has come.
    Where there are several, and they are the majority, it may be today's clock that is behind, for
    a machine often starts with one that is. Then nothing is marked; until the clock is right they
    do not count anyway.
    """
    now = timezone.now()
    rows = Backup.objects.complete().filter(future_at=None)
    if tenant_id is not None:
        rows = rows.for_tenant(tenant_id)
    ahead: dict[str, list[Backup]] = {}
    for backup in rows.future(now):
        ahead.setdefault(backup.tenant_id, []).append(backup)
    for owner, found in ahead.items():
        others = rows.for_tenant(owner).counted(now).count()
        if len(found) >= SEVERAL and len(found) > others:
            logger.error(
                "Most backups of tenant %r are dated in the future. Is today's clock behind?",
                owner,
            )
            continue
        for backup in found:
            if rows.filter(pk=backup.pk).update(future_at=now):
                logger.warning(
                    "The backup %s of tenant %r is dated in the future: when it was made, the "
                    "clock was wrong. It is kept but ignored.",
                    backup,
                    owner,
                )
