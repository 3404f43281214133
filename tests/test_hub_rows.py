"""The hub: what is inside a backup, what a tenant has asked for, and what it has lost."""

import re
from html import unescape

import pytest
from django.contrib import messages
from django.contrib.auth.models import Permission, User

from tenant_backup import rows
from tests.test_admin import operator, staff, told, url
from tests.test_hub import do, hub, row
from tests.test_inside import change, lines, with_users
from tests.test_views import make, open_loss, open_request

__all__ = ["change", "operator", "row", "staff", "with_users"]  # fixtures
pytestmark = pytest.mark.django_db(transaction=True)


def address_of(row, backup, more=""):
    return f"{hub(row).removesuffix('change/')}contents/{backup.pk}/{more}"


def test_a_table_opens_to_its_rows(with_users, tenant, row, change, operator):
    backup = make(tenant)
    change("DELETE FROM auth_user WHERE id = 7")
    page = operator.get(address_of(row, backup))
    assert ["Users", "60", "59", "1", "0", "0"] in lines(page)
    [link] = re.findall(r'href="([^"]+table=auth_user[^"]*)"', page.content.decode())
    assert unescape(link) == address_of(row, backup, "rows/?table=auth_user&kind=gone")
    answer = operator.get(unescape(link))
    assert "user-7" in [cell for line in lines(answer) for cell in line]
    assert f'href="{address_of(row, backup)}"' in answer.content.decode()
    gone = operator.get(address_of(row, backup, "rows/"), {"table": "nothing"})
    assert gone.status_code == 404


def test_only_for_who_may_download(tenant, row, staff):
    backup = make(tenant)
    client = staff("view_backup", "view_backupsettings")
    page = client.get(address_of(row, backup))
    assert page.status_code == 200
    assert "/rows/" not in page.content.decode()
    address = address_of(row, backup, "rows/")
    assert client.get(address, {"table": "credits"}).status_code == 403


def test_what_cannot_be_compared_is_said(tenant, row, change, operator):
    backup = make(tenant)
    change("ALTER TABLE credits ADD COLUMN mood")
    address = address_of(row, backup, "rows/")
    answer = operator.get(address, {"table": "credits", "kind": "changed"}, follow=True)
    assert answer.redirect_chain[-1][0] == address_of(row, backup)
    assert "Columns were added: mood." in answer.content.decode()


def test_a_request_is_shown_with_its_commands_and_answered(tenant, row, operator):
    backup = make(tenant)
    rows.ask(tenant, backup, note="<all>", tables=["credits"], actor="ada")
    page = operator.get(hub(row)).content.decode()
    assert "&lt;all&gt;" in page
    command = f"python manage.py restorerows acme {backup.pk} credits --with-related"
    assert f"<code>{command} --dry-run</code>" in page
    assert f"<code>{command}</code>" in page
    fleet = url("backupsettings", "changelist")
    said = f"ada asks for lost data: <code>{command} --dry-run</code>"
    assert said in operator.get(fleet).content.decode()
    answer = do(operator, row, "answered", id=rows.open_request("acme").pk)
    assert told(answer) == [
        (messages.SUCCESS, "The request is answered, and its backup is no longer held for it.")
    ]
    assert rows.open_request("acme") is None
    assert "asks for lost data" not in operator.get(fleet).content.decode()


def test_a_finding_is_intended(tenant, row, operator):
    loss = open_loss(make(tenant))
    page = operator.get(hub(row)).content.decode()
    assert f'name="id" value="{loss.pk}" aria-label="Intended: credits"' in page
    answer = do(operator, row, "intended", id=loss.pk)
    assert told(answer) == [(messages.SUCCESS, "Noted: credits were deleted on purpose.")]
    loss.refresh_from_db()
    assert loss.intended_by == "grace"
    again = told(do(operator, row, "intended", id=loss.pk))
    assert again == [(messages.ERROR, "This finding has ended already.")]


@pytest.mark.parametrize(
    ("doing", "permission"),
    [("answered", "change_backupsettings"), ("intended", "delete_backup")],
)
def test_each_needs_its_permission_and_knows_its_tenant(
    tenant, add_tenant, row, staff, doing, permission
):
    theirs = make(add_tenant("globex"))
    number = {"answered": open_request, "intended": open_loss}[doing](theirs).pk
    address = url("backupsettings", "do", row.pk)
    client = staff(permission)
    for text in (number, "", "x", "9" * 30):
        assert client.post(address, {"do": doing, "id": text}).status_code == 404
    others = {"change_backupsettings", "delete_backup", "view_backupsettings"} - {permission}
    found = Permission.objects.filter(codename__in=others)
    User.objects.get(username="ada").user_permissions.set(found)
    assert client.post(address, {"do": doing, "id": number}).status_code == 403
