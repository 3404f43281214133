"""The settings form, its presets and its test mail, and what its choices mean before saving."""

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext, ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from tenant_backup import backups, monitoring
from tenant_backup.addresses import address_of
from tenant_backup.contact import after_the_operator
from tenant_backup.exceptions import BackupError, MailNotSent
from tenant_backup.forms import SettingsForm
from tenant_backup.languages import messages
from tenant_backup.meaning import Meaning, meaning_unsaved
from tenant_backup.models import BackupSettings
from tenant_backup.presets import preset_named
from tenant_backup.tenants import CONFIGURE, Tenant, is_operator
from tenant_backup.views.access import tenant_view, user_name
from tenant_backup.views.page import show_page
from tenant_backup.views.redaction import error_text
from tenant_backup.views.responses import back
from tenant_backup.words import going_in_words


@require_POST
@tenant_view(CONFIGURE)
def settings(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """Save the settings; or with a `preset`, show the form filled in, which saves nothing."""
    if "preset" in request.POST:
        preset = preset_named(request.POST["preset"])
        if preset is None:
            raise Http404("There is no such preset.")
        filled_in = SettingsForm.filled_in(request.POST, preset, _settings_of(tenant))
        filled_in.focus_first_error()
        return show_page(request, tenant, filled_in)
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
    # The fragment opens the settings, which say what is kept now.
    return back(request, "settings-form")


@require_POST
@tenant_view(CONFIGURE)
def test_mail(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """Send a test mail to the address in the form. What else was typed stays there."""
    form = SettingsForm(request.POST, instance=_settings_of(tenant))
    form.focus_first_error()
    address = form.cleaned_data.get("notify_email")
    if not address:
        messages.error(
            request, gettext("No test mail was sent. Enter a valid address for notices first.")
        )
    else:
        page = request.build_absolute_uri(address_of(request, "overview"))
        try:
            monitoring.send_test_mail(tenant, address, page=page, actor=user_name(request))
        except MailNotSent as error:
            messages.error(request, str(error) if is_operator(request) else _not_sent(address))
        except BackupError as error:
            messages.error(request, error_text(error, request, tenant))
        else:
            text = gettext("A test mail is on its way to %(address)s. Look into that mailbox.")
            messages.success(request, text % {"address": address})
    is_typed = form.has_changed() and any(name in request.POST for name in form.fields)
    return show_page(request, tenant, form) if is_typed else back(request)


@require_GET
@never_cache
@tenant_view(CONFIGURE)
def summary(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """As JSON, what the choices in the form mean; empty while they are not valid."""
    form = SettingsForm(request.GET, instance=_settings_of(tenant))
    meaning = Meaning()
    if form.is_valid():
        meaning = meaning_unsaved(tenant, form.instance, backups.database_bytes(tenant))
    return JsonResponse(
        {"summary": meaning.summary, "going": meaning.going, "outlook": meaning.outlook}
    )


def _not_sent(address: str) -> str:
    """What others than operators read: the reason may name the mail server, and much else."""
    text = gettext(
        "The test mail to %(address)s could not be sent. The mail server refused it. Tell the "
        "operator%(contact)s."
    )
    return text % {"address": address, "contact": after_the_operator()}


def _settings_of(tenant: Tenant) -> BackupSettings:
    BackupSettings.objects.ensure([tenant.id])
    return BackupSettings.objects.of(tenant.id)
