"""The page on which a tenant's administrator sees, makes and manages backups.

A view finds the tenant and asks the provider for permission, calls one use case, and turns what
comes of it into a message. Every view goes through `door`, so that all decide in the same order:
a wrong method is 405, no tenant 404, nobody logged in the login, no permission 403.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial, wraps
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import global_settings
from django.conf import settings as project_settings
from django.contrib import admin
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import BadRequest, ImproperlyConfigured, PermissionDenied
from django.core.paginator import Paginator
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render, resolve_url
from django.template.defaultfilters import filesizeformat
from django.urls import (
    NoReverseMatch,
    Resolver404,
    ResolverMatch,
    get_script_prefix,
    resolve,
    reverse,
)
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext, ngettext, pgettext
from django.views.decorators.cache import cache_control, never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_GET, require_POST, require_safe

from tenant_backup import automation, backups, chart, languages, monitoring
from tenant_backup.automation import AutomationState
from tenant_backup.conf import conf
from tenant_backup.exceptions import (
    BackupError,
    BackupInProgress,
    LimitReached,
)
from tenant_backup.forms import LabelForm, SettingsForm
from tenant_backup.languages import messages
from tenant_backup.models import Backup, BackupSettings, Event, EventKind, Status, Trigger, Verdict
from tenant_backup.monitoring import diagnosis
from tenant_backup.restore import manual
from tenant_backup.tenants import (
    ACTIONS,
    CONFIGURE,
    CREATE,
    DELETE,
    DOWNLOAD,
    VIEW,
    InvalidTenant,
    Tenant,
    TenantNotFound,
    has_permission,
    is_operator,
    tenant_for_request,
)
from tenant_backup.views import streaming
from tenant_backup.words import going_in_words, settings_in_words

logger = logging.getLogger("tenant_backup")

View = Callable[..., HttpResponse]
Reader = Callable[[str], str]

"""What the tenant provider is asked about."""

NOBODYS = "an-address-that-nobody-has"

PAGE_SIZE = 25
HISTORY_SIZE = 50
HISTORY_ON_THE_PAGE = 6

ID = "[0-9]{1,18}"
"""A row's number: with more digits it is none that a database can compare a key with."""

COUNTING_SECONDS = 5
"""So long the rows of each of two databases are counted while somebody waits before a browser."""


class EveryAlias(set[str]):
    """A set of database aliases that contains each one, those of the future too."""

    def __contains__(self, alias: object) -> bool:
        return True


def tenant_view(action: str) -> Callable[[View], View]:
    """Call a view with the tenant of the request, in its time zone, for who may do this to it."""

    def decorate(view: View) -> View:
        @wraps(view)
        def answer(request: HttpRequest, **kwargs: Any) -> HttpResponse:
            try:
                tenant = tenant_for_request(request)
            except TenantNotFound as error:
                raise Http404(str(error)) from error
            except InvalidTenant as error:
                if not request.user.is_authenticated:
                    return _to_login(request)
                # The operator's log gets a sentence instead of whatever would go wrong later.
                raise ImproperlyConfigured(str(error)) from error
            if not request.user.is_authenticated:
                return _to_login(request)
            _require(request, tenant, action)
            with timezone.override(tenant.zone), languages.speaking():
                try:
                    return view(request, tenant, **kwargs)
                except OperationalError as error:
                    if request.method != "POST":
                        raise
                    logger.exception("The catalog failed during %s.", request.path)
                    messages.error(request, _catalog_trouble(error))
                    return _back(request)

        # No transaction of ATOMIC_REQUESTS may be open around our views. django-q2's ORM broker
        # closes the connections that it finds unusable when it is handed a task, and one inside
        # `atomic()` looks so: on any alias but its own, what the host wrote there would be rolled
        # back without a word. Django asks `alias not in view._non_atomic_requests` of every alias
        # that there is at that moment, and a tenant's alias may be registered by then or not: so
        # not a list of names, but a set that contains every one.
        answer._non_atomic_requests = EveryAlias()  # type: ignore[attr-defined]
        # Here, too, for a host without the middleware. It also sets the cookie for our forms.
        return csrf_protect(answer)

    return decorate


@require_safe
@never_cache
@tenant_view(VIEW)
def overview(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """The page; first of all, what came of the backup that was being made `after` this number."""
    watched = _watched(tenant, request.GET.get("after", ""))
    if watched and not watched.is_active:
        say = messages.error if watched.status == Status.FAILED else messages.success
        say(request, _ended(watched, _reader(request, tenant)))
        return _back(request)
    return _page(request, tenant)


@require_POST
@tenant_view(CONFIGURE)
def settings(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    form = SettingsForm(request.POST, instance=_settings(tenant))
    if not form.is_valid():
        form.focus_first_error()
        messages.error(request, gettext("The settings were not saved: see what is wrong below."))
        return _page(request, tenant, form)
    backups.configure(tenant, form.instance, actor=_user_name(request))
    messages.success(request, gettext("The settings are saved."))
    if going := len(backups.removals_after_next(tenant)):
        marked = ngettext(
            "It is marked in the list: pin it to keep it.",
            "They are marked in the list: pin what you want to keep.",
            going,
        )
        messages.warning(request, f"{going_in_words(going)} {marked}")
    return _back(request)


@require_GET
@never_cache
@tenant_view(CONFIGURE)
def summary(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """What the choices in the settings form mean, before they are saved."""
    form = SettingsForm(request.GET, instance=_settings(tenant))
    if not form.is_valid():
        return JsonResponse({"summary": "", "going": ""})
    text = settings_in_words(form.instance)
    going = len(backups.removals_after_next(tenant, form.instance))
    return JsonResponse({"summary": text, "going": going_in_words(going) if going else ""})


@require_POST
@tenant_view(CREATE)
def create(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    form = LabelForm(request.POST)
    if not form.is_valid():
        reason = " ".join(map(str, form.errors["label"]))
        messages.error(
            request, gettext("No backup was made. Label: %(reason)s") % {"reason": reason}
        )
        return _back(request)
    replaces = request.POST.get("replace", "")
    if replaces:
        # It is a deletion, too.
        _require(request, tenant, DELETE)
    order = backups.BackupRequest(
        trigger=Trigger.MANUAL,
        label=form.cleaned_data["label"],
        requested_by=_user_name(request),
        replaces=_id(replaces) if replaces else None,
    )
    make = _queue if _is_for_a_worker(tenant, workers_run=automation.is_running()) else _make
    try:
        make(request, tenant, order)
    except BackupInProgress:
        messages.warning(
            request,
            gettext(
                "A backup of %(tenant)s is being made at this moment, so no second one was "
                "started. Try again when it is complete."
            )
            % {"tenant": tenant.name},
        )
    except LimitReached as error:
        messages.error(request, gettext("No backup was made. %(reason)s") % {"reason": error})
    except BackupError as error:
        reason = _reason(error, request, tenant)
        messages.error(request, gettext("The backup failed. %(reason)s") % {"reason": reason})
    return _back(request)


@require_POST
@tenant_view(DELETE)
def delete(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    chosen = _chosen(request, tenant)
    if not chosen:
        messages.warning(request, gettext("Select at least one backup, then delete."))
        return _back(request)
    deletable = []
    for backup in chosen:
        if backup.is_deletable:
            deletable.append(backup)
        else:
            messages.warning(request, _why_kept(backup))
    if not deletable:
        return _back(request)
    if request.POST.get("confirm") != "yes":
        return _confirm_delete(request, tenant, deletable)
    deleted = 0
    for backup in deletable:
        try:
            backups.delete(tenant, backup, actor=_user_name(request))
        except BackupInProgress as error:
            messages.error(request, _reason(error, request, tenant))
            break  # Each of the others would wait as long, and in vain.
        except BackupError as error:
            messages.error(request, _reason(error, request, tenant))
        else:
            deleted += 1
    if deleted:
        messages.success(
            request,
            ngettext("%(number)d backup was deleted.", "%(number)d backups were deleted.", deleted)
            % {"number": deleted},
        )
    return _back(request)


@require_POST
@tenant_view(DELETE)
def pin(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    backup = _backup(tenant, request.POST.get("backup", ""))
    answers = {"yes": True, "no": False}
    try:
        pinned = answers[request.POST.get("pinned", "")]
    except KeyError:
        raise BadRequest("pinned is yes or no") from None
    try:
        backups.pin(tenant, backup, pinned=pinned, actor=_user_name(request))
    except BackupError as error:
        messages.error(request, _reason(error, request, tenant))
        return _back(request)
    if pinned:
        text = gettext("The backup of %(time)s is pinned: it is kept until somebody unpins it.")
    else:
        text = gettext("The backup of %(time)s is not pinned any more.")
    messages.success(request, text % {"time": _time(backup)})
    return _back(request)


@require_safe
@cache_control(private=True, no_store=True)
@tenant_view(DOWNLOAD)
def download(request: HttpRequest, tenant: Tenant, backup_id: str) -> HttpResponse:
    backup = _backup(tenant, backup_id)
    answer = streaming.wanted(request, backup.size or 0, backup.sha256)
    is_sent = answer.part is not None and request.method == "GET"
    try:
        stream = backups.open_file(
            tenant,
            backup,
            actor=_user_name(request),
            is_resumed=answer.is_resumed,
            is_sent=is_sent,
        )
    except BackupError as error:
        messages.error(request, _reason(error, request, tenant))
        return _back(request)
    if not is_sent:
        stream.close()
    # mypy takes a streaming response for no HttpResponse; for Django both are answers of a view.
    return streaming.response(  # type: ignore[return-value]
        request,
        answer,
        stream if is_sent else None,
        name=backup.file_name,
        size=backup.size or 0,
        sha256=backup.sha256,
    )


@require_safe
@never_cache
@tenant_view(VIEW)
def contents(request: HttpRequest, tenant: Tenant, backup_id: str) -> HttpResponse:
    """What is in a backup, and for those who see paths the commands that put it back."""
    backup = _backup(tenant, backup_id)
    try:
        tables = backups.contents(tenant, backup, seconds=COUNTING_SECONDS)
    except BackupError as error:
        messages.error(request, _reason(error, request, tenant))
        return _back(request)
    context = {
        "title": gettext("Inside the backup"),
        "backup": backup,
        "tables": tables,
        "has_today": any(table.is_there_today for table in tables),
        "is_partly_counted": any(_is_uncounted(table) for table in tables),
        "commands": _restore_commands(request, tenant, backup),
    }
    return _render(request, tenant, "tenant_backup/contents.html", context)


@require_safe
@never_cache
@tenant_view(VIEW)
def diagnose(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """Try what a backup needs, and say what to do where something is wrong."""
    read = _reader(request, tenant)
    answers = [
        replace(answer, found=read(answer.found))
        for answer in diagnosis.examine(tenant, automation.get_status())
    ]
    context = {
        "title": gettext("Backup doesn't work?"),
        "answers": answers,
        "wrong": sum(answer.is_well is False for answer in answers),
    }
    return _render(request, tenant, "tenant_backup/diagnosis.html", context)


@require_safe
@never_cache
@tenant_view(VIEW)
def history(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """Who did what with this tenant's backups, and when."""
    rows = Event.objects.for_tenant(tenant.id).newest_first()
    page = Paginator(rows, HISTORY_SIZE).get_page(request.GET.get("page"))
    context = {
        "title": pgettext("of backups", "History"),
        "events": _events(page, _reader(request, tenant)),
        "page": page,
        "page_range": page.paginator.get_elided_page_range(page.number),
    }
    return _render(request, tenant, "tenant_backup/history.html", context)


@require_safe
def without_slash(request: HttpRequest, **kwargs: Any) -> HttpResponse:
    """To the same address without the slash at its end, which people and other software add."""
    path, mark, query = request.get_full_path().partition("?")
    return HttpResponseRedirect(f"{path.rstrip('/')}{mark}{query}")


@require_safe
@never_cache
@tenant_view(VIEW)
def status(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """What the progress bar needs, and what came of the `backup` that it is about."""
    rows = Backup.objects.for_tenant(tenant.id)
    newest = rows.counted(timezone.now()).newest_first().first()
    active = rows.active().first()
    progress = _progress(tenant, active)
    watched = _watched(tenant, request.GET.get("backup", ""))
    ended = watched and not watched.is_active
    return JsonResponse(
        {
            "ended": _ended(watched, _reader(request, tenant)) if watched and ended else "",
            "running": active is not None and active.status == Status.RUNNING,
            "queued": active is not None and active.status == Status.QUEUED,
            "bytes_done": progress.bytes_done if progress else None,
            "bytes_total": progress.bytes_total if progress else None,
            "so_far": str(progress) if progress else "",
            "status": newest.status if newest else None,
        }
    )


# Who asks, and for what


def _catalog_trouble(error: OperationalError) -> str:
    """Of a catalog that is locked, say, while the database that it is in is being copied."""
    text = gettext(
        "The catalog of backups could not be changed (%(reason)s). Try again in a moment."
    )
    return text % {"reason": error}


def _to_login(request: HttpRequest) -> HttpResponse:
    """To the login, and from there to where a browser can go: not to a POST, nor to JSON."""
    page = reverse("tenant_backup:overview")
    data = {reverse("tenant_backup:status"), reverse("tenant_backup:summary")}
    shown = request.method == "GET" and request.path not in data
    return redirect_to_login(request.get_full_path() if shown else page, _login_url())


def _login_url() -> str:
    """The project's login, or the admin's where the project's leads nowhere.

    `LOGIN_URL` has a default, so many a project that logs its users in elsewhere never set it.
    """
    try:
        url = resolve_url(project_settings.LOGIN_URL)
        parts = urlsplit(url)
        if not parts.netloc:  # an address elsewhere is somebody else's to answer
            match = _resolve(parts.path)
            is_default = project_settings.LOGIN_URL == global_settings.LOGIN_URL
            if is_default and _takes_anything(match, parts.path):
                with suppress(NoReverseMatch):  # without the admin it is as good as any
                    return reverse("admin:login")
    except (NoReverseMatch, Resolver404):
        return reverse("admin:login")
    return url


def _resolve(path: str) -> ResolverMatch:
    return resolve(f"/{path.removeprefix(get_script_prefix()).lstrip('/')}")


def _takes_anything(match: ResolverMatch, path: str) -> bool:
    """Whether the pattern would also answer an address that nobody has.

    A content management system answers all that is left, and has no login at Django's default
    address. What the host has set itself is trusted: there it may well be the catch-all's page.
    """
    start, _, _name = path.rstrip("/").rpartition("/")
    end = "/" if path.endswith("/") else ""
    try:
        other = _resolve(f"{start}/{NOBODYS}{end}")
    except Resolver404:
        return False
    return (other.route, other.func) == (match.route, match.func)


def _require(request: HttpRequest, tenant: Tenant, action: str) -> None:
    if not has_permission(request, tenant, action):
        raise PermissionDenied


def _user_name(request: HttpRequest) -> str:
    return request.user.get_username()[:255]


def _backup(tenant: Tenant, text: str) -> Backup:
    """The tenant's backup of this id, as it was sent to us."""
    return get_object_or_404(Backup.objects.for_tenant(tenant.id), pk=_id(text))


def _watched(tenant: Tenant, text: str) -> Backup | None:
    """The tenant's backup that a page was waiting for; None where it is gone by now."""
    if not re.fullmatch(ID, text):
        return None
    return Backup.objects.for_tenant(tenant.id).filter(pk=int(text)).first()


def _chosen(request: HttpRequest, tenant: Tenant) -> list[Backup]:
    """All the tenant's backups that the request names; one that is not there is 404."""
    ids = {_id(text) for text in request.POST.getlist("backup")}
    rows = Backup.objects.for_tenant(tenant.id).newest_first()
    found = list(rows.filter(pk__in=ids))
    if len(found) < len(ids):
        raise Http404("There is no such backup.")
    return found


def _id(text: str) -> int:
    if not re.fullmatch(ID, text):
        raise Http404("There is no such backup.")
    return int(text)


def _settings(tenant: Tenant) -> BackupSettings:
    BackupSettings.objects.ensure([tenant.id])
    return BackupSettings.objects.of(tenant.id)


# Making a backup


def _is_for_a_worker(tenant: Tenant, *, workers_run: bool) -> bool:
    """Whether a backup would keep the request waiting for long, and a worker is there to make it.

    By `stat` alone. Of a missing database it is false, so that the request says at once what is
    wrong.
    """
    return workers_run and (backups.database_bytes(tenant) or 0) > conf.INLINE_MAX_BYTES


def _make(request: HttpRequest, tenant: Tenant, order: backups.BackupRequest) -> None:
    made = backups.create(tenant, order, limits=backups.request_limits())
    messages.success(request, _ended(made.backup, _reader(request, tenant)))
    if made.replaced:
        text = gettext("It replaces the backup of %(time)s, which was deleted.")
        messages.info(request, text % {"time": _time(made.replaced)})
    if made.prune_error:
        messages.warning(request, _reason(made.prune_error, request, tenant))
    if removed := len(made.pruned):
        messages.info(
            request,
            ngettext(
                "%(number)d older backup was pruned, as the settings say.",
                "%(number)d older backups were pruned, as the settings say.",
                removed,
            )
            % {"number": removed},
        )


def _queue(request: HttpRequest, tenant: Tenant, order: backups.BackupRequest) -> None:
    automation.enqueue(backups.request(tenant, order))
    messages.info(
        request,
        gettext(
            "The backup is queued, and a worker makes it in the background. You need not stay: "
            "the list says when it is complete."
        ),
    )


# What is shown


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running backup is, learnt from files' sizes: nothing else is written meanwhile."""

    bytes_done: int
    bytes_total: int | None
    quiet_since: datetime | None
    """Since when nothing has moved, where that is so long that it looks interrupted."""

    def __str__(self) -> str:
        if self.bytes_total is None:
            return str(filesizeformat(self.bytes_done))
        sizes = {"done": self.bytes_done, "total": self.bytes_total}
        text = gettext("%(done)s of %(total)s")
        return text % {name: filesizeformat(size) for name, size in sizes.items()}


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the list."""

    backup: Backup
    status: str
    trigger: str
    reason: str
    is_deletable: bool
    goes_because: str = ""
    """Why retention will remove it after the next backup; empty where it will not."""
    stays_because: str = ""
    """Why retention keeps it, where nothing else in the line tells."""


def _page(request: HttpRequest, tenant: Tenant, form: SettingsForm | None = None) -> HttpResponse:
    """The page, with the settings form as it was sent where that could not be saved."""
    may = {action: has_permission(request, tenant, action) for action in ACTIONS}
    if not may["view"]:
        raise PermissionDenied
    automation_status = automation.get_status()
    is_running = automation_status.state is AutomationState.RUNNING
    judgement = monitoring.judge_tenant(tenant, automation_runs=is_running)
    settings = judgement.settings
    rows = Backup.objects.for_tenant(tenant.id)
    page = Paginator(rows.newest_first(), PAGE_SIZE).get_page(request.GET.get("page"))
    space = backups.space(tenant)
    active = rows.active().first()
    now = timezone.now()
    attempts_since = backups.attempts_since(tenant, chart.first_day(now, tenant.zone))
    days = chart.days(attempts_since, now, tenant.zone)
    going = {
        decision.backup.pk: " ".join(decision.reasons)
        for decision in backups.removals_after_next(tenant)
    }
    sees_paths = is_operator(request)
    read = _reader_of(tenant, sees_paths=sees_paths)
    line = partial(_line, read=read, going=going, now=now)
    next_run_at = settings.next_run(now, tenant.zone)
    # Pruning alone would fill the few lines that there are: it follows from each backup.
    newest = Event.objects.for_tenant(tenant.id).exclude(kind=EventKind.PRUNED).newest_first()
    context = {
        "title": gettext("Backups"),
        "may": may,
        "automation_status": automation_status,
        "is_running": is_running,
        "judgement": judgement,
        "findings": [_read(finding, read) for finding in judgement.findings],
        "has_room": judgement.finding(Verdict.NO_ROOM) is None,
        "is_any_missing": judgement.finding(Verdict.MISSING) is not None,
        "days": [(day, date_format(day.date, "SHORT_DATE_FORMAT")) for day in days],
        "chart_size": {"width": chart.DAYS * chart.WIDTH, "height": chart.HEIGHT},
        "has_happenings": any(day.counts for day in days),
        "largest": max((day.size or 0 for day in days), default=0),
        "outcomes": list(chart.Outcome),
        "space": space,
        "quota": backups.quota_of(tenant) if may["create"] else None,
        "backup_settings": settings,
        "settings_in_words": settings_in_words(settings),
        "next_run_at": next_run_at,
        "is_due": next_run_at is not None and next_run_at <= now,
        "active": active,
        "progress": _progress(tenant, active),
        "last_good": rows.good().counted(now).newest_first().first(),
        "label_form": LabelForm(),
        "is_for_a_worker": _is_for_a_worker(tenant, workers_run=is_running),
        "page": page,
        "page_range": page.paginator.get_elided_page_range(page.number),
        "lines": (lines := [line(backup) for backup in page]),
        "has_deletable": any(one.is_deletable for one in lines),
        "form": form or SettingsForm(instance=settings),
        "directory": backups.directory_of(tenant).path if sees_paths else None,
        "database_bytes": backups.database_bytes(tenant),
        "not_included": conf.OPERATOR.get("NOT_INCLUDED", ""),
        "events": _events(newest[:HISTORY_ON_THE_PAGE], read),
    }
    return _render(request, tenant, "tenant_backup/overview.html", context)


def _read(finding: monitoring.Finding, read: Reader) -> monitoring.Finding:
    return replace(finding, reason=read(finding.reason))


def _events(rows: Iterable[Event], read: Reader) -> list[Event]:
    """Lines of the history, each with what this user may read of its detail."""
    events = list(rows)
    for event in events:
        event.detail = read(event.said)
    return events


def _is_uncounted(table: backups.Table) -> bool:
    return (table.is_in_backup and table.rows is None) or (
        table.is_there_today and table.rows_today is None
    )


def _restore_commands(
    request: HttpRequest, tenant: Tenant, backup: Backup
) -> dict[str, str] | None:
    """The commands for the operator, with paths; None for anybody else."""
    if not is_operator(request):
        return None
    file = backups.directory_of(tenant).file(backup.file_name)
    return {
        "restorebackup": manual.command("restorebackup", tenant.id, str(backup.pk)),
        "by_hand": manual.commands(
            tenant.database.resolve(), file.resolve(), backup.sha256, tenant_id=tenant.id
        ),
    }


def _confirm_delete(request: HttpRequest, tenant: Tenant, chosen: list[Backup]) -> HttpResponse:
    good = Backup.objects.for_tenant(tenant.id).good().counted(timezone.now())
    others = good.exclude(pk__in=[row.pk for row in chosen])
    context = {
        "title": gettext("Delete backups"),
        "chosen": chosen,
        "is_last_good": any(row.is_good for row in chosen) and not others.exists(),
        "page_number": _page_number(request),
    }
    return _render(request, tenant, "tenant_backup/confirm_delete.html", context)


def _render(
    request: HttpRequest, tenant: Tenant, template: str, context: dict[str, Any]
) -> HttpResponse:
    # What the admin's templates want to know. Not by `each_context`, which asks for the permissions
    # on every model of the project, to list them in a sidebar that is the operator's.
    frame: dict[str, Any] = {"site_url": get_script_prefix()}
    if apps.is_installed("django.contrib.admin"):  # otherwise the host has a frame of its own
        at_the_top = admin.site.site_url == "/"
        frame = {
            "site_title": admin.site.site_title,
            "site_header": admin.site.site_header,
            "site_url": get_script_prefix() if at_the_top else admin.site.site_url,
            "has_permission": admin.site.has_permission(request),
            "is_popup": False,
            "is_nav_sidebar_enabled": False,
        }
    ours = {
        "tenant": tenant,
        "zone": tenant.zone.key,
        "app_language": languages.of_the_app(),
        "app_language_marks": languages.marks(),
    }
    # The pages themselves come back to the app's language for what is theirs.
    with languages.in_the_frame():
        return render(request, template, {**frame, **ours, **context})


def _back(request: HttpRequest) -> HttpResponse:
    """Back to the page, and to the part of the list that the request came from."""
    number = _page_number(request)
    page = reverse("tenant_backup:overview")
    return redirect(f"{page}?page={number}" if number else page)


def _page_number(request: HttpRequest) -> str:
    number = request.POST.get("page", "")
    return number if re.fullmatch("[0-9]{1,6}", number) else ""


def _line(backup: Backup, *, read: Reader, going: Mapping[int, str], now: datetime) -> Line:
    return Line(
        backup,
        # Not by `get_status_display`, which puts all choices into words to choose one of them.
        str(Status(backup.status).label),
        str(Trigger(backup.trigger).label),
        read(backup.reason),
        is_deletable=backup.is_deletable,
        goes_because=going.get(backup.pk, ""),
        stays_because=_stays_because(backup, now),
    )


def _stays_because(backup: Backup, now: datetime) -> str:
    if not backup.is_good:
        return ""
    if backup.is_future(now):
        return gettext(
            "It is dated in the future, since the clock was wrong: it is kept and never counts."
        )
    if backup.is_held(now):
        return gettext("It is held: %(reason)s") % {"reason": backup.hold_reason}
    return ""


def _ended(backup: Backup, read: Reader) -> str:
    """What came of a backup."""
    if backup.status == Status.FAILED:
        return gettext("The backup failed. %(reason)s") % {"reason": read(backup.reason)}
    values = {"file": backup.file_name, "size": filesizeformat(backup.size or 0)}
    return gettext("The backup is complete: %(file)s, %(size)s.") % values


def _why_kept(backup: Backup) -> str:
    """Why a backup is not deletable."""
    if backup.pinned:
        text = gettext("The backup of %(time)s is pinned, so it is not deleted. Unpin it first.")
    elif backup.status == Status.RUNNING:
        text = gettext("The backup of %(time)s is being made, so it cannot be deleted now.")
    else:
        text = gettext("The backup of %(time)s is queued, so it cannot be deleted now.")
    return text % {"time": _time(backup)}


def _time(backup: Backup) -> str:
    """When the backup was made, in the tenant's zone."""
    return date_format(timezone.localtime(backup.created_at), "DATETIME_FORMAT")


def _reason(error: BackupError | str, request: HttpRequest, tenant: Tenant) -> str:
    """An error's text for this user: where files are on the server is for operators only."""
    return _reader(request, tenant)(str(error))


def _reader(request: HttpRequest, tenant: Tenant) -> Reader:
    """How this user reads a text that may name paths."""
    return _reader_of(tenant, sees_paths=is_operator(request))


def _reader_of(tenant: Tenant, *, sees_paths: bool) -> Reader:
    return str if sees_paths else partial(backups.without_paths, tenant=tenant)


def _progress(tenant: Tenant, active: Backup | None) -> Progress | None:
    if active is None or active.status != Status.RUNNING:
        return None
    total = _bytes(tenant.database)
    try:
        done = _bytes(backups.directory_of(tenant).partial(active.file_name)) or 0
    except BackupError:
        done = 0
    return Progress(
        bytes_done=done if total is None else min(done, total),
        bytes_total=total,
        quiet_since=None
        if backups.is_moving(tenant, active, timezone.now())
        else backups.last_progress_at(tenant, active),
    )


def _bytes(path: Path) -> int | None:
    # stat, never open: to close a database that this process has open would drop its locks.
    try:
        return path.stat().st_size
    except OSError:
        return None
