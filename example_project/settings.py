"""Settings of the example project: a demo for one's own machine, not for the internet."""

import os
from pathlib import Path

import django

BASE = Path(__file__).resolve().parent

# Everything that the project writes: the control database and a directory for each tenant.
DATA = Path(os.environ.get("EXAMPLE_DATA") or BASE.parent / "var").absolute()
# SQLite creates files but no directories, and any command may be the first to open the database.
DATA.mkdir(parents=True, exist_ok=True)

DEBUG = True
SECRET_KEY = "a demo has no secrets"  # noqa: S105
ALLOWED_HOSTS = ["localhost", ".localhost", "127.0.0.1", "[::1]"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_q",
    "tenant_backup",
    "example_project.control",
    "example_project.business",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "example_project.tenancy.TenantMiddleware",
    "example_project.security.content_security_policy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "example_project.urls"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "example_project.tenancy.tenant_in_templates",
            ],
        },
    },
]

# The control database only: a tenant's database gets its alias, and these options, at run time.
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA / "control.sqlite3",
        # Without these, rows are lost when a web server and a cluster write at the same time.
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    },
}
DATABASE_ROUTERS = [
    "tenant_backup.routers.CatalogRouter",
    "example_project.tenancy.TenantRouter",
]

# The languages of the backup page; the example's own pages are English.
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("de", "Deutsch")]

USE_TZ = True
TIME_ZONE = "Europe/Berlin"

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "home"

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE / "static"]

Q_CLUSTER = {
    "name": "example",
    "orm": "default",
    "workers": 2,
    "timeout": 60,
    "retry": 200,
    "max_attempts": 3,
    "catch_up": False,
    # Backups may take long, so they have a cluster of their own and no other task has to wait:
    # Q_CLUSTER_NAME=backups python manage.py qcluster
    "ALT_CLUSTERS": {
        "backups": {
            "workers": 1,
            "timeout": 3600,
            # A worker claims tasks ahead of time. So a task must not be handed out again before
            # three other tasks have had time to run into their timeouts.
            "retry": 12_000,
        },
    },
}

# Notices of failed and overdue backups are printed, not mailed.
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": "django.core.mail.backends.console.EmailBackend"}}
else:
    EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"

# Each tenant has a subdomain of it.
SITE_URL = "http://localhost:8000"

TENANT_BACKUP = {
    "CLUSTER": "backups",
    "TENANT_PROVIDER": "example_project.tenancy.Tenants",
    "OPERATOR": {
        "NAME": "Olivia Operator",
        "EMAIL": "operator@example.com",
        "PHONE": "+49 30 901820",
        "SITE_URL": SITE_URL,
        "SERVICES": ["runserver", "qcluster"],
    },
    "DEFAULT_SETTINGS": {"automatic": True, "keep_last": 7, "keep_monthly": 12},
}
