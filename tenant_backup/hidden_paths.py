"""Removing the server's paths from texts for people who may not see them."""

import os
import re

from django.utils.translation import gettext

from tenant_backup.conf import conf
from tenant_backup.contact import after_the_operator, operator_in_words
from tenant_backup.tenants import Tenant


def without_paths(text: str, tenant: Tenant) -> str:
    """The text with only the last name of the tenant's own files and folders.

    A text that contains any other path is replaced by a general sentence.
    """
    folders = [
        tenant.root / conf.DIRECTORY_NAME,
        tenant.root,
        tenant.root.parent,
        tenant.database.parent,
    ]
    known = {path for folder in folders for path in (folder, folder.resolve()) if path.name}
    for path in sorted(known, key=lambda path: len(str(path)), reverse=True):
        # First what lies in the folder, then the folder itself, but not one that begins alike.
        text = text.replace(f"{path}{os.sep}", "")
        text = path.name.join(re.split(rf"{re.escape(str(path))}(?![\w-])", text))
    left = _without_harmless(text, tenant)
    if "/" in left or "\\" in left:
        sentence = gettext(
            "There was a technical problem. Ask the operator%(contact)s, who can see the details."
        )
        return sentence % {"contact": after_the_operator()}
    return text


def _without_harmless(text: str, tenant: Tenant) -> str:
    """The text without words that may have a slash and reveal nothing: "A/S", "030/1234".

    Only where they stand by themselves, so that none of them hides a part of a path.
    """
    for words in filter(None, (tenant.zone.key, tenant.name, operator_in_words())):
        text = re.sub(rf"(?<![\w/\\.-]){re.escape(words)}(?![\w/\\-])", "", text)
    return text
