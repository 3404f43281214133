"""Who is mailed: the operators in any case, and a tenant's own address, which a test mail tries.

The templates are `tenant_backup/mail/test.txt` and `test_subject.txt`.
"""

import hashlib
import logging
from contextlib import suppress

from django.conf import settings as project_settings
from django.core.cache import cache
from django.core.mail import EmailMessage
from django.template.loader import render_to_string

from tenant_backup.exceptions import BackupError, MailNotSent
from tenant_backup.tenants import Tenant

logger = logging.getLogger("tenant_backup")

SECONDS_APART = 60
"""A tenant sends a test mail so often at most, and so often at most one goes to an address."""


def operators_addresses() -> list[str]:
    """The addresses in `ADMINS`: since Django 6 text, before that a pair with a name."""
    return [each if isinstance(each, str) else each[1] for each in project_settings.ADMINS]


def send_test_mail(tenant: Tenant, address: str, *, page: str, actor: str) -> None:
    """Mail this address that notices reach it; `page` is the address of the tenant's page.

    Raises `MailNotSent` if that is not possible, and `BackupError` if it is too soon after the last
    one. Only what was sent counts.
    """
    context = {"tenant": tenant, "page": page, "actor": actor}
    subject = render_to_string("tenant_backup/mail/test_subject.txt", context)
    body = render_to_string("tenant_backup/mail/test.txt", context)
    noted: list[str] = []
    try:
        is_too_soon = not all(
            _is_first(key, noted)
            for key in (_key("tenant", tenant.id), _key("address", address.lower()))
        )
        if is_too_soon:
            cache.delete_many(noted)
        else:
            EmailMessage(" ".join(subject.split()), body.strip(), to=[address]).send()
    except Exception as error:
        logger.exception("The test mail to %s for tenant %r could not be sent.", address, tenant.id)
        # It may be the cache that fails.
        with suppress(Exception):
            cache.delete_many(noted)
        raise MailNotSent(
            "The test mail to %(address)s could not be sent: %(reason)s",
            address=address,
            reason=str(error) or type(error).__name__,
        ) from error
    if is_too_soon:
        raise BackupError(
            "A test mail was sent less than a minute ago, so none was sent now. Look into the "
            "mailbox, and try again in a minute."
        )


def _key(what: str, value: str) -> str:
    # A hash, because a key must be short and without spaces.
    digest = hashlib.sha256(value.encode(errors="surrogatepass")).hexdigest()
    return f"tenant_backup.test_mail.{what}.{digest}"


def _is_first(key: str, noted: list[str]) -> bool:
    """Whether nothing was sent for this key for a while. Then that is noted from now on."""
    is_first = cache.add(key, True, SECONDS_APART)
    if is_first:
        noted.append(key)
    return is_first
