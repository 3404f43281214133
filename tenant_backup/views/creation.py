"""The button "Create backup": the request makes one, or a worker if the database is large."""

import re

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext, ngettext
from django.views.decorators.http import require_POST

from tenant_backup import automation, backups
from tenant_backup.exceptions import AlreadyAskedFor, BackupError, BackupInProgress, LimitReached
from tenant_backup.forms import LabelForm
from tenant_backup.languages import messages
from tenant_backup.models import FORM_TOKEN_LENGTH, Backup, Trigger
from tenant_backup.tenants import CREATE, DELETE, Tenant
from tenant_backup.views.access import id_or_404, require, tenant_view, user_name
from tenant_backup.views.redaction import error_text, reader_of
from tenant_backup.views.responses import back
from tenant_backup.words import end_in_words, time_in_words

FORM_TOKEN = f"[A-Za-z0-9_-]{{1,{FORM_TOKEN_LENGTH}}}"
"""Anything else in the form's field is as good as none."""


@require_POST
@tenant_view(CREATE)
def create(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    form = LabelForm(request.POST)
    if not form.is_valid():
        reason = " ".join(map(str, form.errors["label"]))
        messages.error(
            request, gettext("No backup was made. Label: %(reason)s") % {"reason": reason}
        )
        return back(request)
    replaces = request.POST.get("replace", "")
    if replaces:
        # This deletes another backup, too.
        require(request, tenant, DELETE)
    token = request.POST.get("token", "")
    wanted = backups.BackupRequest(
        trigger=Trigger.MANUAL,
        label=form.cleaned_data["label"],
        requested_by=user_name(request),
        replaces=id_or_404(replaces) if replaces else None,
        form_token=token if re.fullmatch(FORM_TOKEN, token) else "",
    )
    in_background = automation.is_for_a_worker(tenant, automation.get_status())
    make = _queue if in_background else _make
    made: Backup | None = None
    try:
        made = make(request, tenant, wanted)
    except AlreadyAskedFor as error:
        made = _say_again(request, tenant, error.backup)
    except BackupInProgress:
        text = gettext(
            "A backup of %(tenant)s is being made right now, so no second one was started. "
            "Try again when it is complete."
        )
        messages.warning(request, text % {"tenant": tenant.name})
    except LimitReached as error:
        messages.error(request, gettext("No backup was made. %(reason)s") % {"reason": error})
    except BackupError as error:
        reason = error_text(error, request, tenant)
        messages.error(request, gettext("The backup failed. %(reason)s") % {"reason": reason})
        made = error.backup
    return back(request, f"backup-{made.pk}" if made else "")


def _make(request: HttpRequest, tenant: Tenant, wanted: backups.BackupRequest) -> Backup:
    result = backups.create(tenant, wanted, limits=backups.request_limits())
    messages.success(request, end_in_words(result.backup, reader_of(request, tenant)))
    if result.replaced:
        text = gettext("It replaces the backup of %(time)s, which was deleted.")
        messages.info(request, text % {"time": time_in_words(result.replaced)})
    if result.prune_error:
        messages.warning(request, error_text(result.prune_error, request, tenant))
    if number := len(result.pruned):
        text = ngettext(
            "%(number)d older backup was removed, as set in the settings.",
            "%(number)d older backups were removed, as set in the settings.",
            number,
        )
        messages.info(request, text % {"number": number})
    return result.backup


def _queue(request: HttpRequest, tenant: Tenant, wanted: backups.BackupRequest) -> None:
    """Not to its line then: its progress is at the top."""
    automation.enqueue(backups.request(tenant, wanted))
    text = gettext(
        "The backup is queued and will be made in the background. You can leave this page: the "
        "list shows when the backup is complete."
    )
    messages.info(request, text)


def _say_again(request: HttpRequest, tenant: Tenant, backup: Backup) -> Backup | None:
    """What became of a form that was sent twice; the browser shows the last answer only."""
    if backup.is_active:
        text = gettext(
            "No new backup was made: this form was already sent. Its backup is not complete yet. "
            "To make another one, press the button again when it is."
        )
        messages.warning(request, text)
        return None
    text = gettext(
        "No new backup was made: this form was already sent. %(end)s To make another one, press "
        "the button again."
    )
    messages.warning(request, text % {"end": end_in_words(backup, reader_of(request, tenant))})
    return backup
