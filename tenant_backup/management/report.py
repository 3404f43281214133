"""The report: what a command did, as `--json` prints it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tenant_backup.models import Backup


@dataclass
class Report:
    """What a command did; the object that `--json` prints."""

    backups: list[Backup] = field(default_factory=list)
    errors: list[tuple[str, str]] = field(default_factory=list)
    tenants: list[dict[str, Any]] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)
    """What only this command has to say."""

    def as_json(self) -> str:
        answer = {
            "ok": not self.errors,
            "backups": [_backup_as_dict(backup) for backup in self.backups],
            "errors": [{"tenant": tenant, "message": message} for tenant, message in self.errors],
            "tenants": self.tenants,
            **self.more,
        }
        return json.dumps(answer, indent=2, default=_as_iso)


def _as_iso(value: datetime) -> str:
    """A time as ISO 8601 in UTC, whole seconds and a Z as in file names."""
    return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _backup_as_dict(backup: Backup) -> dict[str, Any]:
    return {
        "id": backup.pk,
        "tenant": backup.tenant_id,
        "status": backup.status,
        "trigger": backup.trigger,
        "label": backup.label,
        "pinned": backup.pinned,
        "file": backup.file_name or None,
        "bytes": backup.size,
        "sha256": backup.sha256 or None,
        "created_at": backup.created_at,
        "finished_at": backup.finished_at,
        "error": backup.error or None,
    }
