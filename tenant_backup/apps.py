from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class TenantBackupConfig(AppConfig):
    name = "tenant_backup"
    verbose_name = _("Backups")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from tenant_backup import checks

        checks.register_all()
