"""The tenants of this project and the people who belong to them."""

from pathlib import Path

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import DEFAULT_DB_ALIAS, connections, models

from tenant_backup.tenants import Tenant


class Customer(models.Model):
    """A company that uses this software, and so a tenant.

    Its data is in a database of its own, in a directory beside the control database.
    """

    slug = models.CharField(
        max_length=63,
        unique=True,
        validators=[RegexValidator(r"\A[a-z0-9]([a-z0-9-]*[a-z0-9])?\Z")],
        help_text="The first label of the host name and the name of the directory.",
    )
    name = models.CharField(max_length=200)
    time_zone = models.CharField(max_length=64, help_text="An IANA name such as Europe/Berlin.")

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def tenant(self) -> Tenant:
        """This customer as `tenant_backup` knows it."""
        data = Path(connections.settings[DEFAULT_DB_ALIAS]["NAME"]).parent
        root = data / "tenants" / self.slug
        return Tenant(self.slug, self.name, root, root / "db.sqlite3", self.time_zone)


class Membership(models.Model):
    """A user works for a tenant. Users belong to the project, not to a tenant."""

    class Role(models.TextChoices):
        ADMINISTRATOR = "administrator"
        MEMBER = "member"

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships"
    )
    tenant = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=20, choices=Role, default=Role.MEMBER)

    class Meta:
        ordering = ["tenant", "user"]
        constraints = [
            models.UniqueConstraint(fields=["user", "tenant"], name="one_membership_a_tenant"),
        ]

    def __str__(self) -> str:
        return f"{self.user}, {self.get_role_display()} of {self.tenant}"
