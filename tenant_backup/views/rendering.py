"""Each page in its frame: the Django admin's, or the host's own."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import get_script_prefix

from tenant_backup import languages
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
