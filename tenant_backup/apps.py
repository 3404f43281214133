"""The app: its checks, its receivers of signals, and its place in Django."""

from django.apps import AppConfig, apps
from django.db.models.signals import post_migrate, pre_migrate
from django.utils.translation import gettext_lazy as _


class TenantBackupConfig(AppConfig):
    name = "tenant_backup"
    verbose_name = _("Backups")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Not before now, since these modules import models. The checks register themselves.
        from tenant_backup import automation, before_migrate, checks, signals  # noqa: F401
        from tenant_backup.backups import before_pruning
        from tenant_backup.monitoring import disk_space
        from tenant_backup.rows import look_before_pruning

        before_pruning.connect(look_before_pruning, dispatch_uid="tenant_backup.losses")

        if not apps.is_installed("django_q"):
            return  # One of the checks says so, and nothing runs before it is installed.
        pre_migrate.connect(
            before_migrate.back_up_before_migrate,
            sender=self,
            dispatch_uid="tenant_backup.before_migrate",
        )
        post_migrate.connect(
            automation.set_up_after_migrate, sender=self, dispatch_uid="tenant_backup.set_up"
        )
        signals.backup_failed.connect(
            automation.retry_after_failure, dispatch_uid="tenant_backup.retry"
        )
        for attempt_ended in (signals.backup_completed, signals.backup_failed):
            attempt_ended.connect(disk_space.note_after_attempt, dispatch_uid="tenant_backup.room")
