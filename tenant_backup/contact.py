"""Contact: how to reach the operator, by the setting `OPERATOR`.

Texts go on saying "the operator"; the contact follows in brackets, so that the words around it keep
their form in every language: "Ask the operator (Anna Ops, ops@example.com) for a larger disk."
"""

from urllib.parse import quote

from tenant_backup.conf import conf


def operator_in_words() -> str:
    """The operator's name, email address and telephone number; empty if none is set."""
    operator = conf.OPERATOR
    parts = (str(operator.get(key, "")).strip() for key in ("NAME", "EMAIL", "PHONE"))
    return ", ".join(filter(None, parts))


def after_the_operator() -> str:
    """What follows the words "the operator": " (Anna Ops, ops@example.com)", or nothing."""
    contact = operator_in_words()
    return f" ({contact})" if contact else ""


def mail_address(subject: str) -> str:
    """The link that begins a mail to the operator with this subject; empty without an address."""
    address = conf.OPERATOR.get("EMAIL")
    return f"mailto:{quote(address, safe='@')}?subject={quote(subject, safe='')}" if address else ""


def services() -> list[str]:
    """What the operator stops in an emergency, by its name on the server."""
    given = conf.OPERATOR.get("SERVICES", ())
    names = given if isinstance(given, list | tuple) else [given]
    return [name for name in map(str, names) if name]
