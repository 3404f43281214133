"""The control database in the admin, for the operator."""

from django.contrib import admin
from django.http import HttpRequest

from example_project.control.models import Customer, Membership


@admin.register(Customer)
class CustomerAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ["name", "slug", "time_zone"]
    readonly_fields = ["slug"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """A new tenant needs a database, too; see the command `setup_example`."""
        return False


@admin.register(Membership)
class MembershipAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ["user", "tenant", "role"]
    list_filter = ["tenant", "role"]
