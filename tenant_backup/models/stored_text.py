"""How a text is stored so that it can be read in another language later."""

from __future__ import annotations

import json

from tenant_backup.texts import Text


def data_of(text: Text | str) -> str:
    """What `texts.in_active_language` needs: JSON in a text field.

    To check a `JSONField`, Django connects to the database before each command. That would create
    an empty database where it is missing and about to be restored.
    """
    return json.dumps(text.as_data()) if isinstance(text, Text) else ""
