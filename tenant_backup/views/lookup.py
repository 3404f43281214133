"""The backups that a request names, by their ids. Another tenant's backup does not exist."""

from __future__ import annotations

import re

from django.http import Http404, HttpRequest
from django.shortcuts import get_object_or_404

from tenant_backup.models import Backup
from tenant_backup.tenants import Tenant

ID = "[0-9]{1,18}"
"""A longer number is no id: databases cannot compare a key with it."""


def backup_or_404(tenant: Tenant, text: str) -> Backup:
    return get_object_or_404(Backup.objects.for_tenant(tenant.id), pk=id_or_404(text))


def all_or_404(request: HttpRequest, tenant: Tenant) -> list[Backup]:
    """Every backup that a form names, newest first; 404 if one of them is not there."""
    ids = {id_or_404(text) for text in request.POST.getlist("backup")}
    found = list(Backup.objects.for_tenant(tenant.id).newest_first().filter(pk__in=ids))
    if len(found) < len(ids):
        raise Http404("There is no such backup.")
    return found


def backup_or_none(tenant: Tenant, text: str) -> Backup | None:
    """The backup that a page was waiting for, which may be gone by now."""
    if not re.fullmatch(ID, text):
        return None
    return Backup.objects.for_tenant(tenant.id).filter(pk=int(text)).first()


def id_or_404(text: str) -> int:
    if not re.fullmatch(ID, text):
        raise Http404("There is no such backup.")
    return int(text)
