"""Settings of the test suite: the smallest host that the app can live in.

The provider is the tests' own, so that a test decides which tenants there are. The control database
is SQLite, or with `TEST_CONTROL=postgresql` one on the server of `tests.postgres`.
"""

import os
from typing import Any

import django
from django.core.exceptions import ImproperlyConfigured

from tests import postgres

SECRET_KEY = "only for tests"
USE_TZ = True
TIME_ZONE = "UTC"
ROOT_URLCONF = "tests.urls"
STATIC_URL = "static/"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django_q",
    "tenant_backup",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}
DATABASES: dict[str, dict[str, Any]] = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
}
if os.environ.get("TEST_CONTROL") == "postgresql":
    if not postgres.is_there():
        raise ImproperlyConfigured(
            "There is no PostgreSQL server. Start one with the tests: "
            "TEST_CONTROL=postgresql python -m tests.postgres pytest ..."
        )
    DATABASES["default"] = postgres.django_settings(os.environ.get("TEST_CONTROL_NAME", "control"))
TENANT_BACKUP: dict[str, Any] = {"TENANT_PROVIDER": "tests.tenancy.Tenants"}
Q_CLUSTER: dict[str, Any] = {"orm": "default", "timeout": 60, "retry": 300}
