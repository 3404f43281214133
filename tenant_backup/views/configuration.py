"""The settings form, and what its choices mean before they are saved."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext, ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from tenant_backup import backups
from tenant_backup.forms import SettingsForm
from tenant_backup.languages import messages
from tenant_backup.models import BackupSettings
from tenant_backup.tenants import CONFIGURE, Tenant
from tenant_backup.views.access import tenant_view, user_name
from tenant_backup.views.page import show_page
from tenant_backup.views.responses import back
from tenant_backup.words import going_in_words, settings_in_words


@require_POST
@tenant_view(CONFIGURE)
def settings(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    form = SettingsForm(request.POST, instance=_settings_of(tenant))
    if not form.is_valid():
        form.focus_first_error()
        messages.error(
            request, gettext("The settings were not saved. The errors are marked below.")
        )
        return show_page(request, tenant, form)
    backups.configure(tenant, form.instance, actor=user_name(request))
    messages.success(request, gettext("The settings are saved."))
    if going := len(backups.removals_after_next(tenant)):
        marked = ngettext(
            "It is marked in the list: pin it to keep it.",
            "They are marked in the list: pin those that you want to keep.",
            going,
        )
        messages.warning(request, f"{going_in_words(going)} {marked}")
    return back(request)


@require_GET
@never_cache
@tenant_view(CONFIGURE)
def summary(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """As JSON, what the choices in the form mean; empty while they are not valid."""
    form = SettingsForm(request.GET, instance=_settings_of(tenant))
    if not form.is_valid():
        return JsonResponse({"summary": "", "going": ""})
    text = settings_in_words(form.instance)
    going = len(backups.removals_after_next(tenant, form.instance))
    return JsonResponse({"summary": text, "going": going_in_words(going) if going else ""})


def _settings_of(tenant: Tenant) -> BackupSettings:
    BackupSettings.objects.ensure([tenant.id])
    return BackupSettings.objects.of(tenant.id)
