"""Asking the operator for lost data, taking that back, and saying that a loss was intended."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext
from django.views.decorators.http import require_POST

from tenant_backup import monitoring, rows, table_names
from tenant_backup.contact import after_the_operator
from tenant_backup.exceptions import BackupError
from tenant_backup.forms import RequestForm
from tenant_backup.languages import messages
from tenant_backup.models import RestoreRequest, RowLoss
from tenant_backup.tenants import CREATE, DELETE, Tenant
from tenant_backup.views.access import backup_or_404, id_or_404, tenant_view, user_name
from tenant_backup.views.redaction import error_text
from tenant_backup.views.responses import back

PART = "lost-text"
"""The part of the page that shows what came of it."""


@require_POST
@tenant_view(CREATE)
def ask(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """Ask for data from a backup: with a `note`, and for the whole of each `table` or none."""
    backup = backup_or_404(tenant.id, request.POST.get("backup", ""))
    form = RequestForm(request.POST)
    try:
        if not form.is_valid():
            raise BackupError(" ".join(map(str, form.errors["note"])))
        asked = rows.ask(
            tenant,
            backup,
            note=form.cleaned_data["note"],
            tables=request.POST.getlist("table"),
            actor=user_name(request),
        )
    except BackupError as error:
        reason = error_text(error, request, tenant)
        messages.error(request, gettext("Nothing was asked for. %(reason)s") % {"reason": reason})
        return back(request)
    messages.success(request, _whom_it_reached(asked))
    return back(request, PART)


def _whom_it_reached(asked: RestoreRequest) -> str:
    is_mailed = monitoring.tell_of_request(asked)
    if is_mailed:
        text = gettext("The operator%(contact)s has been told by mail. The backup is held.")
    elif is_mailed is None:
        text = gettext(
            "The request is saved, and the backup is held. Nobody is mailed here, so also tell the "
            "operator%(contact)s."
        )
    else:
        text = gettext(
            "The request is saved, and the backup is held. The mail to the operator%(contact)s "
            "could not be sent; it will be tried again."
        )
    return text % {"contact": after_the_operator()}


@require_POST
@tenant_view(CREATE)
def withdraw(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """Take a request back that nobody has answered."""
    asked = get_object_or_404(
        RestoreRequest.objects.for_tenant(tenant.id).select_related("backup"),
        pk=id_or_404(request.POST.get("request", "")),
    )
    try:
        rows.answer(tenant, asked, actor=user_name(request), is_taken_back=True)
    except BackupError as error:
        messages.warning(request, error_text(error, request, tenant))
    else:
        messages.success(request, gettext("The request was taken back."))
    return back(request)


@require_POST
@tenant_view(DELETE)
def intended(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """End the finding that rows were lost: somebody meant to delete them."""
    loss = get_object_or_404(
        RowLoss.objects.for_tenant(tenant.id), pk=id_or_404(request.POST.get("loss", ""))
    )
    try:
        rows.intend(tenant, loss, user_name(request))
    except BackupError as error:
        messages.warning(request, error_text(error, request, tenant))
    else:
        text = gettext("Noted: %(what)s were deleted on purpose.")
        messages.success(request, text % {"what": table_names.in_words(loss.table)})
    return back(request)
