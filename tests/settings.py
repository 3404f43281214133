"""Settings of the test suite: the smallest host that the app can live in.

The provider is the tests' own, so that a test decides which tenants there are. The example
project's apps are here for the type checker; its own tests run it as real processes.
"""

SECRET_KEY = "only for tests"
USE_TZ = True
TIME_ZONE = "UTC"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django_q",
    "tenant_backup",
    "example_project.control",
    "example_project.business",
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
TENANT_BACKUP = {"TENANT_PROVIDER": "tests.tenancy.Tenants"}
Q_CLUSTER = {"orm": "default", "timeout": 60, "retry": 300}
