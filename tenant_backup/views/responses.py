"""What a view answers with: a page in its frame, or the way back to the page."""

import re
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import get_script_prefix
from django.views.decorators.http import require_safe

from tenant_backup import languages
from tenant_backup.addresses import address_of
from tenant_backup.tenants import Tenant


def render_page(
    request: HttpRequest, tenant: Tenant, template: str, context: dict[str, Any]
) -> HttpResponse:
    ours = {
        "tenant": tenant,
        "zone": tenant.zone.key,
        "app_language": languages.of_the_app(),
        "app_language_marks": languages.marks(),
    }
    # The pages themselves return to the app's language for their own part.
    with languages.in_the_frame():
        return render(request, template, {**_frame(request), **ours, **context})


def _frame(request: HttpRequest) -> dict[str, Any]:
    """What the admin's templates need.

    Not `each_context`: it checks the permissions on every model of the project, to list them in a
    sidebar that is the operator's.
    """
    if not apps.is_installed("django.contrib.admin"):  # then the host has a frame of its own
        return {"site_url": get_script_prefix()}
    site = admin.site
    return {
        "site_title": site.site_title,
        "site_header": site.site_header,
        "site_url": get_script_prefix() if site.site_url == "/" else site.site_url,
        "has_permission": site.has_permission(request),
        "is_popup": False,
        "is_nav_sidebar_enabled": False,
    }


def back(request: HttpRequest, fragment: str = "") -> HttpResponse:
    """Back to the page, to the part of the list that the request came from, and to this element."""
    number = page_number(request)
    query = f"?page={number}" if number else ""
    return redirect(address_of(request, "overview") + query + (f"#{fragment}" if fragment else ""))


def page_number(request: HttpRequest) -> str:
    """The part of the list that a form was sent from; empty for the first part."""
    number = request.POST.get("page", "")
    return number if re.fullmatch("[0-9]{1,6}", number) else ""


@require_safe
def without_slash(request: HttpRequest, **arguments: Any) -> HttpResponse:
    """To the same address without the slash at the end, which people and other software add."""
    path, mark, query = request.get_full_path().partition("?")
    return HttpResponseRedirect(f"{path.rstrip('/')}{mark}{query}")
