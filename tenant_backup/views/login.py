"""Where users who are not logged in are sent."""

from contextlib import suppress
from urllib.parse import urlsplit

from django.conf import global_settings, settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import resolve_url
from django.urls import (
    NoReverseMatch,
    Resolver404,
    ResolverMatch,
    get_script_prefix,
    resolve,
    reverse,
)

from tenant_backup.addresses import address_of


def to_login(request: HttpRequest) -> HttpResponse:
    """To the login, and from there to what a browser can show: not to a POST, and not to JSON."""
    json = {address_of(request, "status"), address_of(request, "summary")}
    is_shown = request.method == "GET" and request.path not in json
    after = request.get_full_path() if is_shown else address_of(request, "overview")
    return redirect_to_login(after, _login_url())


def _login_url() -> str:
    """The project's login, or the admin's if the project's leads nowhere.

    `LOGIN_URL` has a default, so many projects that log their users in elsewhere never set it.
    """
    try:
        url = resolve_url(settings.LOGIN_URL)
        parts = urlsplit(url)
        if not parts.netloc:  # an address on another site is not ours to check
            match = _resolve(parts.path)
            is_default = settings.LOGIN_URL == global_settings.LOGIN_URL
            if is_default and _takes_anything(match, parts.path):
                with suppress(NoReverseMatch):  # without the admin there is no better one
                    return reverse("admin:login")
    except (NoReverseMatch, Resolver404):
        return reverse("admin:login")
    return url


def _resolve(path: str) -> ResolverMatch:
    return resolve(f"/{path.removeprefix(get_script_prefix()).lstrip('/')}")


def _takes_anything(match: ResolverMatch, path: str) -> bool:
    """Whether the pattern would also answer an address that nobody has.

    A content management system answers every address that is left, and has no login at Django's
    default address. A LOGIN_URL that the host has set is trusted: the pattern that answers
    everything may well have a page for it.
    """
    start, _, _name = path.rstrip("/").rpartition("/")
    end = "/" if path.endswith("/") else ""
    try:
        other = _resolve(f"{start}/an-address-that-nobody-has{end}")
    except Resolver404:
        return False
    return (other.route, other.func) == (match.route, match.func)
