"""Back to the page, and to addresses without a slash at the end."""

from __future__ import annotations

import re
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.views.decorators.http import require_safe

from tenant_backup.addresses import address_of


def back(request: HttpRequest) -> HttpResponse:
    """Back to the page, and to the part of the list that the request came from."""
    number = page_number(request)
    page = address_of(request, "overview")
    return redirect(f"{page}?page={number}" if number else page)


def page_number(request: HttpRequest) -> str:
    """The part of the list that a form was sent from; empty where it does not say."""
    number = request.POST.get("page", "")
    return number if re.fullmatch("[0-9]{1,6}", number) else ""


@require_safe
def without_slash(request: HttpRequest, **arguments: Any) -> HttpResponse:
    """To the same address without the slash at the end, which people and other software add."""
    path, mark, query = request.get_full_path().partition("?")
    return HttpResponseRedirect(f"{path.rstrip('/')}{mark}{query}")
