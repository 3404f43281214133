"""One restore: what was asked for, and what to say about it at the end."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from django.utils.translation import gettext

from tenant_backup import backups
from tenant_backup.files import BackupDirectory
from tenant_backup.models import LABEL_LENGTH, Backup, Trigger
from tenant_backup.restore.plan import Plan
from tenant_backup.sqlite import Progress
from tenant_backup.tenants import Tenant
from tenant_backup.texts import Text

NOTHING_CHANGED = Text("Nothing was changed.")

Say = Callable[[str], None]
"""Called with a sentence about each step, for the operator."""


@dataclass(frozen=True, slots=True)
class Job:
    """What every step of a restore needs to know."""

    plan: Plan
    safety_copy_to: Path | None
    """Where the operator wants the safety copy; None for the backup directory."""
    actor: str
    say: Say
    progress: Progress | None
    holds_catalog: bool
    """Whether the catalog lies in the very database that is restored."""
    ended: list[Backup]
    """Backups that have ended, to be announced when the tenant's lock is free again."""
    notes: list[str] = field(default_factory=list)

    @property
    def tenant(self) -> Tenant:
        return self.plan.choice.tenant

    @property
    def database(self) -> Path:
        """The database's file, symbolic links resolved."""
        return self.plan.database

    @property
    def directory(self) -> BackupDirectory:
        return backups.directory_of(self.tenant)

    @property
    def folder_of_safety_copy(self) -> BackupDirectory:
        if self.safety_copy_to is None:
            return self.directory
        return self.folder_for_tenant(self.safety_copy_to)

    @property
    def request(self) -> backups.BackupRequest:
        """What asks for the safety copy."""
        label = gettext("before the restore of %(file)s") % {"file": self.plan.choice.file.name}
        return backups.BackupRequest(
            trigger=Trigger.RESTORE,
            label=label[:LABEL_LENGTH],
            pinned=True,
            requested_by=self.actor,
        )

    def folder_for_tenant(self, path: Path) -> BackupDirectory:
        """A folder whose new files get the tenant's owner, even if the folder has another one."""
        return BackupDirectory(path.parent, path.name, owners=(self.tenant.root, self.database))

    def note(self, text: Text) -> None:
        self.notes.append(str(text))
