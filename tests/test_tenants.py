"""Tenants, and the providers: who is a tenant, which request is whose, and who may do what."""

from dataclasses import FrozenInstanceError
from pathlib import Path
from zoneinfo import ZoneInfoNotFoundError

import pytest
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from tenant_backup import exceptions
from tenant_backup.models import Backup, BackupSettings
from tenant_backup.tenants import (
    DatabaseTenants,
    DirectoryTenants,
    SingleTenant,
    Tenant,
    TenantNotFound,
    TenantProvider,
    get_provider,
)
from tests.tenancy import Tenants

SQLITE = "django.db.backends.sqlite3"
ACTIONS = ["view", "create", "delete", "download", "configure"]
ACME = Tenant("acme", "Acme", Path("/srv/acme"), Path("/srv/acme/db.sqlite3"))


@pytest.fixture
def set_databases():
    """Let `DATABASES` be something else, and put the tests' own default database back afterwards.

    Connections to the other databases are made and never opened.
    """
    kept = vars(connections._connections).get("default") if False else None
    opened: set[str] = set()
    with pytest.MonkeyPatch.context() as patch:

        def set_(**databases):
            databases.setdefault("default", {"ENGINE": SQLITE, "NAME": ":memory:"})
            patch.setattr(connections, "settings", connections.configure_settings(databases))
            opened.update(databases)

        yield set_
    del kept
