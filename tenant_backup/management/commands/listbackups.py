"""`manage.py listbackups`: the catalog."""

from argparse import ArgumentParser, ArgumentTypeError
from functools import partial
from itertools import groupby, islice
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone
from django.utils.translation import gettext, ngettext

from tenant_backup import backups, rows
from tenant_backup.exceptions import TenantNotFound
from tenant_backup.files import size_in_words
from tenant_backup.management.base import USAGE_ERROR, TenantCommand, zone_in_words, zone_of
from tenant_backup.management.matrix import MOST_BACKUPS, Matrix
from tenant_backup.management.output import shown
from tenant_backup.management.terminal import INDENT, columns, paragraph, width_of
from tenant_backup.models import Backup, BackupQuerySet
from tenant_backup.tenants import Tenant, get_tenant, list_tenants, tenant_or_none
from tenant_backup.words import ago

TITLES = ["ID", "TENANT", "TIME", "AGE", "SIZE", "STATUS", "TRIGGER", "FILE", "LABEL"]
DIGITS = 18


def number(text: str) -> int:
    """A whole number from 1. Its first digits are enough: nobody has that many backups."""
    start = text[:DIGITS]
    if not text.isdecimal() or not int(start):
        raise ArgumentTypeError("must be a whole number from 1")
    return int(start)


class Command(TenantCommand):
    help = "List the backups of the named tenants, or of all: by tenant, newest first."
    examples = (
        ("acme --last 5 --contents", "what is in the newest five backups of acme"),
        ("--failed", "what went wrong, with all tenants"),
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--contents",
            action="store_true",
            help="what is in the backups: the rows of each table, today and in the newest ones",
        )
        parser.add_argument(
            "--failed",
            action="store_true",
            help="only those that failed, and those that are missing or damaged",
        )
        parser.add_argument(
            "--last", type=number, metavar="N", help="only the newest N of each tenant"
        )
        parser.add_argument(
            "--ids",
            action="store_true",
            help="only ids, one on each line: of all tenants, or of the good backups of the named "
            "ones; for scripts and shell completion",
        )

    def handle(
        self,
        *,
        tenants: list[str],
        contents: bool,
        failed: bool,
        last: int | None,
        ids: bool,
        **options: Any,
    ) -> None:
        if ids and self.as_json:
            raise CommandError("Use --ids or --json, not both.", returncode=USAGE_ERROR)
        catalog = Backup.objects.order_by("tenant_id", "-created_at", "-pk")
        if tenants:
            catalog = catalog.filter(tenant_id__in=tenants)
        # Backups may outlive their tenant, so the provider need not know those in the catalog.
        in_catalog = list(dict.fromkeys(catalog.values_list("tenant_id", flat=True)))
        others = [id_ for id_ in dict.fromkeys(tenants) if id_ not in in_catalog]
        listed = self.listed(others)
        self.refuse_unknown(
            [id_ for id_ in others if id_ not in listed],
            also=Backup.objects.order_by().values_list("tenant_id", flat=True).distinct(),
        )
        if ids:
            self.say_ids(catalog, in_catalog if not tenants else None)
            return
        is_empty = not in_catalog
        self.report.backups = _chosen(catalog, failed=failed, last=last)
        if not tenants:
            in_catalog = list(dict.fromkeys(row.tenant_id for row in self.report.backups))
        entries: dict[str, dict[str, Any]] = {
            id_: {"id": id_} for id_ in dict.fromkeys(tenants or in_catalog)
        }
        self.report.tenants = list(entries.values())
        known = [tenant_or_none(next(iter(entries)))] if len(entries) == 1 else []
        with timezone.override(zone_of([tenant for tenant in known if tenant])):
            if not self.as_json:
                self.say_list(is_empty=is_empty, failed=failed)
            for id_, theirs in self.by_tenant() if contents else ():
                self.look_inside(id_, theirs, entries[id_], shows_all=last is not None)
        self.finish(len(self.report.backups), failed="could not be looked into")

    def say_ids(self, catalog: BackupQuerySet, in_catalog: list[str] | None) -> None:
        """Print the ids of all tenants, also of those that only the catalog knows, or of backups.

        An id that is not safe on a terminal is left out: nobody could type it.
        """
        if in_catalog is None:
            found = [str(pk) for pk in catalog.good().values_list("pk", flat=True)]
        else:
            with self.asking_provider():
                found = sorted(list_tenants().ids.union(in_catalog))
        for each in found:
            if each.isprintable():
                self.say(each)

    def say_list(self, *, is_empty: bool, failed: bool) -> None:
        chosen, width = self.report.backups, width_of(self.stdout)
        outcome = _outcome_of_failed(chosen) if failed else _outcome(chosen)
        if is_empty:
            outcome = gettext("There are no backups yet. Make some: %(command)s")
            outcome %= {"command": "python manage.py runbackup"}
        self.say(paragraph(outcome, width))
        if chosen:
            self.say(paragraph(zone_in_words(), width))
            self.say(_table(chosen, width))

    def by_tenant(self) -> list[tuple[str, list[Backup]]]:
        """The good backups of each tenant, newest first."""
        good = [backup for backup in self.report.backups if backup.is_good]
        return [(id_, list(each)) for id_, each in groupby(good, key=lambda row: row.tenant_id)]

    def look_inside(
        self, tenant_id: str, theirs: list[Backup], entry: dict[str, Any], *, shows_all: bool
    ) -> None:
        """Say what is in a tenant's backups, and add it to the report's entry of the tenant."""
        tenant = self.attempt(tenant_id, partial(_tenant, tenant_id))
        if tenant is None:
            return
        number = len(theirs)
        if not (shows_all or self.as_json):
            theirs = theirs[:MOST_BACKUPS]
        kept = rows.kept_with(theirs)
        matrix = Matrix(backups.numbers_today(tenant))
        for backup in theirs:
            look = partial(backups.numbers_in, tenant, backup, kept.get(backup.pk))
            if (numbers := self.attempt(tenant_id, look)) is not None:
                matrix.numbers[backup.pk] = numbers
        if not matrix.numbers:
            return
        entry["contents"] = matrix.as_data()
        if not self.as_json:
            width = width_of(self.stdout)
            room = None if width is None else width - len(INDENT)
            fits = len(matrix.numbers) if shows_all else matrix.fitting(room)
            self.say(f"\n{shown(tenant_id)}")
            lines = columns(matrix.lines(fits), width=room)
            self.say("\n".join(INDENT + line.replace("\n", f"\n{INDENT}") for line in lines))
            if fits < number and not shows_all:
                self.say(paragraph(_more(fits, number), width, INDENT))


def _tenant(tenant_id: str) -> Tenant | None:
    try:
        return get_tenant(tenant_id)
    except TenantNotFound:
        return None  # nothing says where its files are


def _more(number: int, total: int) -> str:
    text = ngettext(
        "This is the newest of %(total)d good backups. More of them: --last N",
        "These are the newest %(number)d of %(total)d good backups. More of them: --last N",
        number,
    )
    return text % {"number": number, "total": total}


def _chosen(rows: BackupQuerySet, *, failed: bool, last: int | None) -> list[Backup]:
    """Those that are asked for; with both, the newest of those that failed."""
    if failed:
        rows = rows.gone_wrong()
    by_tenant = groupby(rows, key=lambda backup: backup.tenant_id)
    return [backup for _, theirs in by_tenant for backup in islice(theirs, last)]


def _outcome(rows: list[Backup]) -> str:
    """How many backups these are, how many of them are good, and how old the newest good one is."""
    good = [backup for backup in rows if backup.is_good]
    text = ngettext(
        "%(number)d backup, %(good)d of them good.",
        "%(number)d backups, %(good)d of them good.",
        len(rows),
    )
    outcome = text % {"number": len(rows), "good": len(good)}
    if age := ago(max((backup.created_at for backup in good), default=None)):
        outcome += " " + gettext("The newest good one was made %(age)s.") % {"age": age}
    return outcome


def _outcome_of_failed(rows: list[Backup]) -> str:
    if not rows:
        return gettext("No backup has failed, and none is missing or damaged.")
    text = ngettext(
        "%(number)d backup has failed, or is missing or damaged.",
        "%(number)d backups have failed, or are missing or damaged.",
        len(rows),
    )
    return text % {"number": len(rows)}


def _cells(backup: Backup) -> list[str]:
    marks = {
        "pinned": backup.pinned,
        "held": backup.is_held(timezone.now()),
        "missing": backup.missing_at,
        "damaged": backup.damaged_at,
        "dated in the future": backup.future_at,
    }
    return [
        str(backup.pk),
        shown(backup.tenant_id),
        f"{timezone.localtime(backup.created_at):%Y-%m-%d %H:%M}",
        ago(backup.created_at),
        size_in_words(backup.size) if backup.size else "-",
        ", ".join([backup.status, *(mark for mark, is_set in marks.items() if is_set)]),
        backup.trigger,
        backup.file_name or "-",
        shown(backup.label) if backup.label else "",
    ]


def _table(backups: list[Backup], width: int | None) -> str:
    """The rows in columns; below each failed one its reason, which may be long."""
    lines = columns([TITLES, *map(_cells, backups)], width=width)
    reasons = ["", *(backup.reason for backup in backups)]
    return "\n".join(
        f"{line}\n{paragraph(shown(reason), width, INDENT)}" if reason else line
        for line, reason in zip(lines, reasons, strict=True)
    )
