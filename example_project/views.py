"""The pages of the example: each tenant's home page, and the list of tenants on the bare host."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.http.request import split_domain_port
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from example_project.business.models import Contract, InventoryItem, Ticket
from example_project.control.access import is_administrator, is_member
from example_project.control.models import Customer
from example_project.tenancy import DOMAIN, current_tenant


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """The tenant's home page; without a tenant, the list of tenants."""
    return tenants(request) if current_tenant() is None else tenant_home(request)


def tenants(request: HttpRequest) -> HttpResponse:
    _host, port = split_domain_port(request.get_host())
    suffix = f"{DOMAIN}:{port}" if port else DOMAIN
    customers = [
        (customer, f"{request.scheme}://{customer.slug}.{suffix}/")
        for customer in Customer.objects.all()
    ]
    return render(request, "example/tenants.html", {"customers": customers})


@login_required
def tenant_home(request: HttpRequest) -> HttpResponse:
    tenant = current_tenant()
    if tenant is None or not is_member(request.user, tenant):
        raise PermissionDenied
    counts = [
        ("Contracts", f"{Contract.objects.count():,}"),
        ("Tickets", f"{Ticket.objects.count():,}"),
        ("Inventory items", f"{InventoryItem.objects.count():,}"),
    ]
    context = {
        "counts": counts,
        "tickets": Ticket.objects.select_related("contract__partner")[:8],
        "is_administrator": is_administrator(request.user, tenant),
    }
    return render(request, "example/home.html", context)


@require_POST
@login_required
def accident(request: HttpRequest) -> HttpResponse:
    """Delete all contracts of the tenant: the accident that backups are for."""
    tenant = current_tenant()
    if tenant is None:
        raise Http404("There is no tenant at this address.")
    if not is_administrator(request.user, tenant):
        raise PermissionDenied
    _total, deleted = Contract.objects.all().delete()
    contracts = deleted.get(Contract._meta.label, 0)
    tickets = deleted.get(Ticket._meta.label, 0)
    messages.warning(
        request,
        f"All {contracts:,} contracts of {tenant.name} are gone, and {tickets:,} tickets with "
        "them. That is what backups are for.",
    )
    return redirect("home")
