"""Our commands as they are typed into a shell."""

import shlex
from collections.abc import Iterable


def command(name: str, tenant_id: str, *more: str, options: Iterable[str] = ()) -> str:
    """One of our commands as it is typed into a shell, even if a tenant's id begins with "-"."""
    arguments = [tenant_id, *more]
    if any(argument.startswith("-") for argument in arguments):
        words = [*options, "--", *arguments]
    else:
        words = [*arguments, *options]
    return f"python manage.py {name} {shlex.join(words)}"
