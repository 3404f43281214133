"""The links in mails: to the page of a tenant, and to the admin."""

import pytest
from django.urls import include, path

from tenant_backup.tenants import DirectoryTenants, on_the_site, url_for
from tests.tenancy import Tenants

PAGE = "/settings/admin/backup"
SITE = {"SITE_URL": "https://example.com"}


class WithAddresses(Tenants):
    """A host that knows the addresses of its tenants."""

    given: object = None

    def url_for(self, tenant):
        if isinstance(self.given, Exception):
            raise self.given
        return self.given


class Older:
    """A provider that is no subclass of ours, written before there was `url_for`."""

    all_tenants = get_tenant = tenant_for_request = has_permission = None


class Prefixed:
    """Its URLs have a prefix with an argument, which a mail does not know."""

    urlpatterns = [path("t/<slug:tenant_slug>/", include("tenant_backup.urls"))]


@pytest.fixture
def provide(settings):
    def provide(provider, **operator):
        path_of = f"{provider.__module__}.{provider.__name__}"
        settings.TENANT_BACKUP = {"TENANT_PROVIDER": path_of, "OPERATOR": operator}

    return provide


@pytest.mark.parametrize("provider", [Tenants, Older])
def test_it_is_the_page_on_the_site(provide, acme, provider):
    provide(provider)
    assert url_for(acme) is None
    provide(provider, **SITE)
    assert url_for(acme) == f"https://example.com{PAGE}"
    provide(provider, SITE_URL="http://localhost:8000/app/")
    assert url_for(acme) == f"http://localhost:8000/app{PAGE}"


def test_the_provider_knows_better(provide, acme, monkeypatch):
    provide(WithAddresses, **SITE)
    monkeypatch.setattr(WithAddresses, "given", "https://acme.example.com/b?x=1#top")
    assert url_for(acme) == "https://acme.example.com/b?x=1#top"


def test_an_empty_text_is_no_link(provide, acme, monkeypatch, caplog):
    provide(WithAddresses, **SITE)
    monkeypatch.setattr(WithAddresses, "given", "")
    assert url_for(acme) is None
    assert not caplog.records


@pytest.mark.parametrize(
    "given",
    [
        *("acme.example.com", "/settings/admin/backup", "javascript:alert(1)", "ftp://a/b"),
        *("https://", "https://[", "https://a/b c", "https://a/\nBcc: eve@example.com"),
        *(7, b"https://a", ["https://a"], LookupError("no such customer")),
    ],
)
def test_nonsense_is_logged_and_costs_no_more_than_the_link(
    provide, acme, monkeypatch, caplog, given
):
    provide(WithAddresses, **SITE)
    monkeypatch.setattr(WithAddresses, "given", given)
    assert url_for(acme) is None
    [record] = caplog.records
    assert record.getMessage() == "The tenant provider gives no address for tenant 'acme'."
    assert record.exc_info


def test_a_prefix_that_only_a_request_knows_gives_no_link(provide, acme, settings):
    provide(Tenants, **SITE)
    settings.ROOT_URLCONF = Prefixed
    assert url_for(acme) is None


def test_the_admin_is_linked_where_there_is_one(provide, settings):
    provide(Tenants, **SITE)
    address = on_the_site("admin:tenant_backup_backupsettings_changelist")
    assert address == "https://example.com/admin/tenant_backup/backupsettings/"
    settings.ROOT_URLCONF = Prefixed
    assert on_the_site("admin:tenant_backup_backupsettings_changelist") is None


@pytest.mark.parametrize(
    ("tenant_id", "site", "expected"),
    [
        ("acme", "https://example.com:8443", f"https://acme.example.com:8443{PAGE}"),
        ("Acme-2", "http://localhost:8000", f"http://acme-2.localhost:8000{PAGE}"),
        ("my_shop", "https://example.com", None),
        ("-acme", "https://example.com", None),
        ("acme", "http://127.0.0.1:8000", None),
        ("acme", None, None),
    ],
)
def test_tenants_with_host_names_have_their_page_there(
    provide, add_tenant, tenant_id, site, expected
):
    provide(DirectoryTenants, **({"SITE_URL": site} if site else {}))
    assert url_for(add_tenant(tenant_id, database=False)) == expected


@pytest.fixture
def acme(add_tenant):
    return add_tenant(database=False)
