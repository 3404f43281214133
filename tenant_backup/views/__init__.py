"""The page on which a tenant's administrator sees, makes and manages backups.

A view takes the request apart, calls one use case, and turns the result or the error into an
answer. Each is decorated with `access.tenant_view`, so that all decide in the same order: a wrong
method is 405, no tenant 404, nobody logged in the login, no permission 403.
"""

from tenant_backup.views.configuration import settings, summary, test_mail
from tenant_backup.views.creation import create
from tenant_backup.views.deletion import delete, pin
from tenant_backup.views.inside import contents, table_rows
from tenant_backup.views.page import overview, status
from tenant_backup.views.requests import ask, intended, withdraw
from tenant_backup.views.responses import without_slash
from tenant_backup.views.streaming import download
from tenant_backup.views.subpages import diagnose, history

__all__ = [
    "ask",
    "contents",
    "create",
    "delete",
    "diagnose",
    "download",
    "history",
    "intended",
    "overview",
    "pin",
    "settings",
    "status",
    "summary",
    "table_rows",
    "test_mail",
    "withdraw",
    "without_slash",
]
