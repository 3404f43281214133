"""The page: the admin that it extends, its address, and its static files."""

from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, register
from django.templatetags.static import static
from django.urls import NoReverseMatch, Resolver404, get_script_prefix, resolve, reverse


@register("tenant_backup")
def check_admin(**kwargs: Any) -> list[CheckMessage]:
    """The page extends the Django admin's look, whose templates ask for the admin's addresses."""
    if not apps.is_installed("django.contrib.admin"):
        problem, hint = "is not in INSTALLED_APPS", 'Add "django.contrib.admin" to INSTALLED_APPS'
    elif not _is_routed("admin:index"):
        problem = "has no address"
        hint = 'Add path("admin/", admin.site.urls) to the urlpatterns'
    else:
        return []
    return [
        Error(
            f"The Django admin {problem}, so the page of backups cannot be shown.",
            hint=f"{hint}, or override tenant_backup/base.html and silence this check.",
            id="tenant_backup.E012",
        )
    ]


@register("tenant_backup")
def check_address(**kwargs: Any) -> list[CheckMessage]:
    """The page's address leads to our page, and not to a pattern before it that takes anything."""
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    try:
        address = reverse("tenant_backup:overview")
    except NoReverseMatch:
        return []  # a host need not have the page, or has it below an argument
    path = f"/{address.removeprefix(get_script_prefix()).lstrip('/')}"
    try:
        match = resolve(path)
    except Resolver404:
        problem = "leads nowhere"
    else:
        # By the app's name: the host may have given its routes another namespace.
        if (match.app_names[-1:], match.url_name) == (["tenant_backup"], "overview"):
            return []
        name = match.view_name or match._func_path
        problem = f"is answered by {name} (the pattern {match.route!r})"
    return [
        checks.Warning(
            f"The address of the page of backups, {address}, {problem}.",
            hint='Put path("", include("tenant_backup.urls")) first in the urlpatterns.',
            id="tenant_backup.W004",
        )
    ]


@register("tenant_backup")
def check_static_files(**kwargs: Any) -> list[CheckMessage]:
    """The storage of static files knows ours; one with a manifest fails for what it lacks."""
    if settings.DEBUG or not apps.is_installed("django.contrib.staticfiles"):
        return []
    folder = Path(__file__).parent.parent / "static"
    for file in sorted(folder.glob("tenant_backup/*.*")):
        name = file.relative_to(folder).as_posix()
        try:
            static(name)
        except Exception as error:  # noqa: BLE001 - whatever the host's storage raises
            return [
                checks.Warning(
                    f"The page of backups cannot be shown, since the static file {name} has no "
                    f"address: {type(error).__name__}: {error}",
                    hint="Run manage.py collectstatic, after each upgrade too.",
                    id="tenant_backup.W005",
                )
            ]
    return []


def _is_routed(name: str) -> bool:
    """Whether there is such an address; true where the project has no addresses at all."""
    if not getattr(settings, "ROOT_URLCONF", None):
        return True
    try:
        reverse(name)
    except NoReverseMatch:
        return False
    return True
