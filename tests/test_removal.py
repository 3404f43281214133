"""Taking the app out of a project, by real `migrate` runs."""

from tests.conftest import migrate, names_in, on_each_control

pytestmark = on_each_control

# What a host has besides: a schedule and a queued task of its own, and a user with permissions.
BESIDES = """
from django.contrib.auth.models import Permission, User
from django_q.models import Schedule
from django_q.tasks import async_task
from tenant_backup import automation, backups
from tenant_backup.models import Trigger
from tenant_backup.tenants import get_provider
Schedule.objects.create(name="hosts", func="math.sqrt", args="4", schedule_type=Schedule.DAILY)
async_task("math.sqrt", 4)
tenant = get_provider().get_tenant("acme")
automation.enqueue(backups.request(tenant, backups.BackupRequest(trigger=Trigger.MANUAL)))
ada = User.objects.create(username="ada")
ada.user_permissions.set(Permission.objects.filter(codename__in=["view_backup", "view_user"]))
"""

# As a worker would once the app is not in INSTALLED_APPS: every task that is left can be found.
LOCATE = """
import pydoc
from django_q.models import OrmQ, Schedule
for row in [*OrmQ.objects.all(), *Schedule.objects.all()]:
    print(row.func() if callable(row.func) else row.func)
"""

OURS_IN = {
    "django_q_schedule": "name = 'tenant_backup'",
    "django_content_type": "app_label = 'tenant_backup'",
    "auth_permission": "codename = 'view_backup'",
}


def number_of_ours(host):
    return {
        table: host.query(f"SELECT count(*) FROM {table} WHERE {condition}")[0][0]
        for table, condition in OURS_IN.items()
    }


def test_migrating_to_zero_leaves_nothing_in_the_tables_of_others(host):
    root = host.add_tenant()
    migrate(host)
    assert host.run("runbackup").returncode == 0
    kept = names_in(root / "backups")
    besides = host.start(BESIDES)
    _, errors = besides.communicate(timeout=60)
    assert besides.returncode == 0, errors
    assert all(number_of_ours(host).values())

    zero = host.run("migrate", "tenant_backup", "zero")
    assert zero.returncode == 0, zero.stderr
    assert number_of_ours(host) == dict.fromkeys(OURS_IN, 0)
    look = host.start(LOCATE)
    left, errors = look.communicate(timeout=60)
    assert left.split() == ["math.sqrt", "math.sqrt"], errors
    # What is the host's, and what is the tenant's, is as it was.
    assert host.query(
        "SELECT codename FROM auth_permission JOIN auth_user_user_permissions "
        "ON permission_id = auth_permission.id"
    ) == [("view_user",)]
    assert names_in(root / "backups") == kept

    # And back again.
    migrate(host)
    assert all(number_of_ours(host).values())


def test_where_it_is_only_said_nothing_is_removed(host):
    for fake in ("--plan", "--fake"):
        said = host.run("migrate", "tenant_backup", "zero", fake)
        assert said.returncode == 0, said.stderr
        assert all(number_of_ours(host).values())
