"""The current tenant's data in the admin, for the tenant's administrators."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from example_project.business.models import Contract, InventoryItem, Partner, Ticket
from example_project.control.access import is_administrator
from example_project.tenancy import current_tenant


class BusinessAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Django's permissions are the same for all tenants, so the membership decides instead.

    Without a tenant, on the bare host, there is nothing to show.
    """

    list_per_page = 50

    def has_module_permission(self, request: HttpRequest) -> bool:
        tenant = current_tenant()
        return tenant is not None and is_administrator(request.user, tenant)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.has_module_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_module_permission(request)

    has_change_permission = has_view_permission
    has_delete_permission = has_view_permission


@admin.register(Partner)
class PartnerAdmin(BusinessAdmin):
    list_display = ["name", "number", "city", "contact", "since"]
    search_fields = ["name", "number", "city"]


@admin.register(Contract)
class ContractAdmin(BusinessAdmin):
    list_display = ["number", "title", "partner", "status", "monthly_fee", "starts_on", "ends_on"]
    list_filter = ["status"]
    list_select_related = ["partner"]
    search_fields = ["number", "title", "partner__name"]
    autocomplete_fields = ["partner"]


@admin.register(Ticket)
class TicketAdmin(BusinessAdmin):
    list_display = ["number", "subject", "contract", "status", "priority", "opened_at"]
    list_filter = ["status", "priority"]
    list_select_related = ["contract"]
    search_fields = ["number", "subject"]
    autocomplete_fields = ["contract"]


@admin.register(InventoryItem)
class InventoryItemAdmin(BusinessAdmin):
    list_display = ["name", "serial_number", "category", "location", "purchase_price"]
    list_filter = ["category"]
    search_fields = ["serial_number", "name"]
    autocomplete_fields = ["contract"]
