"""`manage.py comparebackups`: what is gone, new or changed since a backup, table by table."""

from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone
from django.utils.translation import gettext, ngettext

from tenant_backup import restore
from tenant_backup.exceptions import BackupError, BackupNotFound, NoSuchTable
from tenant_backup.management.base import (
    FAILED,
    USAGE_ERROR,
    TenantCommand,
    did_you_mean,
    zone_in_words,
    zone_of,
)
from tenant_backup.management.output import shown
from tenant_backup.management.suggestions import similar_names
from tenant_backup.management.terminal import INDENT, columns, paragraph, width_of
from tenant_backup.management.values import as_json_value, as_literal
from tenant_backup.models import Backup
from tenant_backup.rows import Pair, opened
from tenant_backup.sqlite import Difference, Kind, Row, Shape, folded
from tenant_backup.tenants import Tenant
from tenant_backup.words import ago

TITLES = ["TABLE", "THEN", "NOW", "GONE", "NEW", "CHANGED"]
NOT_COMPARED = ["NOT COMPARED", "THEN", "NOW", "WHY"]
KINDS: tuple[Kind, ...] = ("gone", "changed", "new")


class Command(TenantCommand):
    help = (
        "Compare a backup with today's database, or with another backup: how many rows of each "
        "table are gone, new or changed. Nothing is written. Exit status: 0 done, differences or "
        "not; 1 failed; 2 usage error."
    )
    examples = (
        ("acme 17", "what is gone, new or changed in acme since backup 17"),
        ("acme 17 23 --table contract --rows", "the contracts that differ between two backups"),
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("tenant", metavar="TENANT", help="the id of the tenant")
        parser.add_argument(
            "then", metavar="BACKUP", help="the id or the file name of a backup of this tenant"
        )
        parser.add_argument(
            "now",
            nargs="?",
            metavar="BACKUP",
            help="the backup to compare it with; without one, today's database",
        )
        parser.add_argument("--table", metavar="T", help="only this table")
        parser.add_argument(
            "--rows",
            action="store_true",
            help="with --table: also the rows that differ, as they were and as they are",
        )
        parser.add_argument(
            "--json", action="store_true", dest="as_json", help="print one JSON object"
        )

    def handle(
        self,
        *,
        tenant: str,
        then: str,
        now: str | None,
        table: str | None,
        rows: bool,
        verbosity: int,
        **options: Any,
    ) -> None:
        if rows and table is None:
            raise CommandError("--rows needs --table.", returncode=USAGE_ERROR)
        listing = self.find_tenants([tenant])
        with timezone.override(zone_of(listing.tenants)):
            try:
                if listing.invalid:
                    raise listing.invalid[0]
                found = listing.tenants[0]
                backup, other = _find(found, then), _find(found, now) if now else None
                self.compare(found, backup, other, table, verbosity, shows_rows=rows)
            except BackupError as error:
                self.report.errors.append((tenant, str(error)))
                if self.as_json:
                    self.say(self.report.as_json())
                status = USAGE_ERROR if isinstance(error, BackupNotFound | NoSuchTable) else FAILED
                raise CommandError(
                    f"{shown(tenant)}: failed. {error}", returncode=status
                ) from error
        if self.as_json:
            self.say(self.report.as_json())

    def compare(
        self,
        tenant: Tenant,
        then: Backup,
        now: Backup | None,
        table: str | None,
        verbosity: int,
        *,
        shows_rows: bool,
    ) -> None:
        """Say how the two differ, and add it to the report."""
        with opened(tenant, then, now) as pair:
            names = pair.comparison.tables()
            if table is not None:
                names = [_known(table, names)]
            found = [pair.comparison.difference(name) for name in names]
            self.report.backups += [pair.then, *([pair.now] if pair.now else [])]
            self.report.tenants.append({"id": tenant.id, "now_at": pair.at})
            self.report.more["tables"] = [_as_dict(each) for each in found]
            if not self.quiet:
                self.say_differences(pair, found, shows_equal=verbosity > 1 or table is not None)
            if shows_rows:
                self.say_rows(pair, names[0])

    def say_differences(self, pair: Pair, found: list[Difference], *, shows_equal: bool) -> None:
        width = width_of(self.stdout)
        self.say(paragraph(_outcome(found), width))
        for line in (*_what(pair), zone_in_words()):
            self.say(paragraph(line, width))
        lines = [
            _cells(each) for each in found if each.is_compared and (shows_equal or _differs(each))
        ]
        if lines:
            self.say("\n".join(columns([TITLES, *lines], width=width)))
        others = [
            [shown(each.table), _number(each.rows_then), _number(each.rows_now), str(each.why_not)]
            for each in found
            if not each.is_compared
        ]
        if others:
            self.say("\n".join(columns([NOT_COMPARED, *others], width=width)))

    def say_rows(self, pair: Pair, table: str) -> None:
        """Say which rows differ: they are read and printed one by one, since there may be many."""
        shape = pair.comparison.shape(table)
        listed = self.report.more.setdefault("rows", [])
        for kind in KINDS:
            for row in pair.comparison.rows(table, kind):
                if self.as_json:
                    listed.append(_row_as_dict(kind, row, shape))
                else:
                    self.tell(_row_as_text(kind, row, shape, width_of(self.stdout)))


def _find(tenant: Tenant, text: str) -> Backup:
    """The tenant's backup of this id or file name; raises `BackupNotFound`."""
    if backup := restore.find(tenant, text).backup:
        return backup
    raise BackupNotFound(
        "%(path)s is not in the catalog. Name a backup by its id or its file name: see manage.py "
        "listbackups.",
        path=text,
    )


def _known(table: str, names: list[str]) -> str:
    """This table as it is spelled; raises `NoSuchTable`, and says which one may be meant."""
    spelled = {folded(name): name for name in names}
    if name := spelled.get(folded(table)):
        return name
    error = NoSuchTable("There is no table %(table)s.", table=shown(table))
    if question := did_you_mean(similar_names(table, names)):
        raise NoSuchTable("%(error)s %(more)s", error=error, more=question[0])
    raise error


def _differs(found: Difference) -> bool:
    return bool(found.gone or found.new or found.changed)


def _outcome(found: list[Difference]) -> str:
    """How many tables differ, and how many were not compared."""
    differing = sum(map(_differs, found))
    compared = sum(each.is_compared for each in found)
    if differing:
        text = ngettext(
            "%(number)d of %(all)d tables differs.",
            "%(number)d of %(all)d tables differ.",
            differing,
        )
    else:
        text = ngettext(
            "No row differs in the one table that was compared.",
            "No row differs in the %(all)d tables that were compared.",
            compared,
        )
    sentences = [text % {"number": differing, "all": compared}]
    if others := len(found) - compared:
        text = ngettext(
            "%(number)d table was not compared.", "%(number)d tables were not compared.", others
        )
        sentences.append(text % {"number": others})
    return " ".join(sentences)


def _what(pair: Pair) -> Iterator[str]:
    """What was compared with what."""
    now = gettext("today's database") if pair.now is None else _in_words(pair.now)
    text = gettext("Then: %(then)s. Now: %(now)s.")
    yield text % {"then": _in_words(pair.then), "now": now}
    if pair.stands_for_today:
        yield gettext(
            "The newest backup stands for today: today's database is not in WAL mode, so those "
            "who write to it would have to wait."
        )


def _in_words(backup: Backup) -> str:
    at = f"{timezone.localtime(backup.created_at):%Y-%m-%d %H:%M}"
    facts = [at, *filter(None, [ago(backup.created_at)])]
    return f"{backup.pk}, {backup} ({', '.join(facts)})"


def _number(number: int | None) -> str:
    return "-" if number is None else str(number)


def _cells(found: Difference) -> list[str]:
    numbers = (found.rows_then, found.rows_now, found.gone, found.new, found.changed)
    return [shown(found.table), *map(_number, numbers)]


def _as_dict(found: Difference) -> dict[str, Any]:
    return {
        "table": found.table,
        "rows_then": found.rows_then,
        "rows_now": found.rows_now,
        "gone": found.gone,
        "new": found.new,
        "changed": found.changed,
        "compared": found.is_compared,
    }


def _row_as_dict(kind: Kind, row: Row, shape: Shape) -> dict[str, Any]:
    def as_dict(values: Sequence[object] | None, names: Sequence[str]) -> dict[str, Any] | None:
        if values is None:
            return None
        return {name: as_json_value(value) for name, value in zip(names, values, strict=True)}

    return {
        "kind": kind,
        "key": [as_json_value(value) for value in row.key],
        "then": as_dict(row.then, shape.columns_in("then")),
        "now": as_dict(row.now, shape.columns_in("now")),
    }


def _row_as_text(kind: Kind, row: Row, shape: Shape, width: int | None) -> str:
    """The row: of one that has changed only the columns that differ, as they were and are."""
    key = ", ".join(
        f"{shown(name)} {as_literal(value)}"
        for name, value in zip(shape.key if row.key else (), row.key, strict=True)
    )
    if kind == "changed" and row.then is not None and row.now is not None:
        titles = ["COLUMN", "THEN", "NOW"]
        cells = [
            [shown(name), as_literal(then), as_literal(now)]
            for name, then, now in zip(shape.columns, row.then, row.now, strict=True)
            if as_literal(then) != as_literal(now)
        ]
    else:
        titles = ["COLUMN", "NOW" if kind == "new" else "THEN"]
        names = shape.columns_in("now" if kind == "new" else "then")
        values = (row.now if kind == "new" else row.then) or ()
        cells = [
            [shown(name), as_literal(value)] for name, value in zip(names, values, strict=True)
        ]
    lines = columns([titles, *cells], width=width and width - len(INDENT))
    return "\n".join(
        [f"{kind}: {key}" if key else kind]
        + [INDENT + line.replace("\n", f"\n{INDENT}") for line in lines]
    )
