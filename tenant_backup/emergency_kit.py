"""The emergency kit: one page to print, with what an emergency on this host needs.

Where things are on this server, who the tenants are, and the commands for what can be lost. It
needs nothing but itself to be read. `docs/emergency.md` is the same for any host, and says more.
"""

import os
import shlex
import socket
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connections
from django.template.loader import get_template
from django.utils import timezone

import tenant_backup
from tenant_backup import backups, contact
from tenant_backup.conf import conf
from tenant_backup.restore import manual
from tenant_backup.tenants import Listing, Tenant, sqlite_file
from tenant_backup.tenants.databases import is_same_file

MARK = "<!DOCTYPE html>\n<!-- tenant_backup emergency kit -->\n"
"""How each kit begins, so that a new one may take the place of an old one, and of nothing else."""

OWNERS_NAMED = 3
"""So many owners of databases are named at most, those with the most databases."""


@dataclass(frozen=True, slots=True)
class Line:
    """A tenant in the list of all."""

    name: str
    typed: str
    """Its id as it is typed at the end of a command."""
    database: str
    backups: str
    backups_quoted: str
    is_there: bool
    """Whether the database exists."""


def pages(listing: Listing, *, user: str) -> Iterator[str]:
    """The page, piece by piece, in the active language: with many tenants it is long."""
    tenants = sorted(listing.tenants, key=lambda tenant: (tenant.name.casefold(), tenant.id))
    yield MARK
    yield _rendered("head", _facts(tenants, user))
    line = get_template("tenant_backup/kit/tenant.html")
    for tenant in tenants:
        yield line.render({"line": _line(tenant)})
    invalid = [(visible(error.tenant_id), visible(str(error))) for error in listing.invalid]
    by_hand = manual.commands(
        Path("DATABASE"),
        Path("BACKUP"),
        '"$(cut -c 1-64 "$backup.sha256")"',
        tenant_id="TENANT",
    )
    yield _rendered("foot", {"invalid": sorted(invalid), "by_hand": by_hand})


def visible(text: object) -> str:
    """Text from outside without what hides or moves other text: escaped as Python would."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in str(text))


def typed(tenant_id: str) -> str:
    """An id as it is typed at the end of a command in bash, whatever it consists of."""
    if tenant_id.isprintable():
        text = shlex.quote(tenant_id)
    else:
        signs = (
            sign if sign.isprintable() and sign not in "'\\" else f"\\U{ord(sign):08x}"
            for sign in tenant_id
        )
        text = f"$'{''.join(signs)}'"
    return f"-- {text}" if tenant_id.startswith("-") else text


def _rendered(name: str, context: dict[str, Any]) -> str:
    rendered: str = get_template(f"tenant_backup/kit/{name}.html").render(context)
    return rendered


def _line(tenant: Tenant) -> Line:
    return Line(
        visible(tenant.name),
        typed(tenant.id),
        visible(tenant.database),
        visible(folder := backups.directory_of(tenant).path),
        shlex.quote(str(folder)),
        os.path.lexists(tenant.database),
    )


def _facts(tenants: Sequence[Tenant], user: str) -> dict[str, Any]:
    """What the page says of this server."""
    file = sqlite_file(conf.CATALOG_DATABASE)
    holders = [tenant for tenant in tenants if file and is_same_file(tenant.database, file)]
    services = contact.services()
    # A unit of systemd can have such a name. Other names say what to stop, but not how.
    are_units = all(set(name) <= UNIT and not name.startswith("-") for name in services)
    return {
        "version": tenant_backup.__version__,
        "written_at": timezone.localtime(),
        "zone": timezone.get_current_timezone_name(),
        "server": socket.gethostname(),
        "user": user,
        "owners": _owners(tenants),
        "operator": contact.operator_in_words(),
        "services": [visible(name) for name in services],
        "units": " ".join(services) if services and are_units else "",
        "folder": visible(_project_folder() or ""),
        "virtual_environment": visible(sys.prefix) if _activate() else "",
        "python": visible(sys.executable),
        "setup": "\n".join(_setup()),
        "provider": conf.TENANT_PROVIDER,
        "control": visible(file or _server_of(conf.CATALOG_DATABASE)),
        "aside": _aside(file) if file else "",
        "alias": "" if conf.CATALOG_DATABASE == "default" else conf.CATALOG_DATABASE,
        "holder": _line(holders[0]) if holders else None,
        "directory_name": conf.DIRECTORY_NAME,
    }


UNIT = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@._-")


def _setup() -> Iterator[str]:
    """What to type into a new shell, so that the commands of the page work."""
    folder = _project_folder()
    yield f"cd {shlex.quote(str(folder))}" if folder else "cd ________________________"
    if activate := _activate():
        yield f". {shlex.quote(str(activate))}"
    else:
        yield f'python() {{ {shlex.quote(sys.executable)} "$@"; }}'
    for name in ("PYTHONPATH", "DJANGO_SETTINGS_MODULE"):
        if value := os.environ.get(name):
            yield f"export {name}={shlex.quote(value)}"


def _project_folder() -> Path | None:
    """The folder of `manage.py`, as far as that can be known."""
    folders = [Path(sys.argv[0]).absolute().parent, Path.cwd()]
    if base := getattr(settings, "BASE_DIR", None):
        folders.append(Path(base).absolute())
    return next((folder for folder in folders if (folder / "manage.py").is_file()), None)


def _activate() -> Path | None:
    """What activates the virtual environment, if Python runs in one."""
    file = Path(sys.prefix) / "bin" / "activate"
    return file if sys.prefix != sys.base_prefix and file.is_file() else None


def _owners(tenants: Sequence[Tenant]) -> str:
    """To whom the tenants' databases belong: most of them to the first."""
    owners: Counter[str] = Counter()
    for tenant in tenants:
        # A user without a name; a file that is gone; a system without users.
        with suppress(KeyError, OSError, NotImplementedError):
            owners[tenant.database.owner()] += 1
    return ", ".join(visible(name) for name, _number in owners.most_common(OWNERS_NAMED))


def _server_of(alias: str) -> str:
    """A database that is no file, in words. Who may log in there, and how, is not told."""
    known = connections[alias].settings_dict
    where = ":".join(str(known[key]) for key in ("HOST", "PORT") if known.get(key))
    name = f"{connections[alias].display_name}: {known['NAME']}"
    return f"{name}, {where}" if where else name


def _aside(file: Path) -> str:
    """How to move a damaged control database, and what belongs to it, out of the way."""
    return (
        f"control={shlex.quote(str(file))}\n"
        'aside="$control-lost-$(date -u +%Y%m%dT%H%M%SZ)"\n'
        'mkdir "$aside"\n'
        "for end in '' -wal -shm -journal; do\n"
        '    if [ -e "$control$end" ]; then mv "$control$end" "$aside/"; fi\n'
        "done"
    )
