"""Which tables may be brought back, and how the host's models tie them together beyond SQL."""

from collections.abc import Iterator

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured

from tenant_backup.exceptions import BackupError
from tenant_backup.sqlite.row_plan import Connection
from tenant_backup.sqlite.shapes import folded
from tenant_backup.sqlite.structure import Reference, Structure, shared_types

OURS = ("tenant_backup_", "django_q_")
"""What the tables of this app and of django-q2 begin with: they are about work, not data."""

GUARDED_STARTS = ("auth_", "authtoken_", "knox_", "oauth2_provider_", "otp_", "token_blacklist_")
GUARDED_ENDS = ("_session", "_sessions", "_token", "_tokens", "_authtoken")
GUARDED = {"django_migrations"}


def refuse_ours(table: str) -> None:
    """Raise `BackupError` for the tables of this app and of django-q2."""
    if is_ours(table):
        raise BackupError(
            "The rows of %(table)s cannot be brought back: it is a table of %(app)s, which only "
            "that itself may write.",
            table=table,
            app="django-q2" if folded(table).startswith("django_q_") else "tenant_backup",
        )


def is_ours(table: str) -> bool:
    return folded(table).startswith(OURS)


def is_guarded(table: str) -> bool:
    """Whether its rows let somebody in, so that they come back only if the table is named."""
    name = folded(table)
    return (
        name.startswith(GUARDED_STARTS)
        or name.endswith(GUARDED_ENDS)
        or name in GUARDED
        or name in _tables_of_users()
    )


def _tables_of_users() -> set[str]:
    """The table of the host's own users, and those that say which groups they belong to."""
    try:
        user = get_user_model()
    except ImproperlyConfigured:
        return set()
    through = [field.remote_field.through for field in user._meta.local_many_to_many]
    tables = [model._meta.db_table for model in (user, *through) if model]
    return set(map(folded, tables))


def generic_references(connection: Connection, structure: Structure) -> Iterator[Reference]:
    """The references by content type that the host's models have, where both databases agree.

    The number of a content type may mean another model in another database.
    """
    types = shared_types(connection, structure)
    for table, of_type, of_row in _generic_columns():
        if not _has(structure, table, {of_type, of_row}):
            continue
        for (app, name), number in types.items():
            try:
                to = apps.get_model(app, name)._meta
            except LookupError:
                continue
            if to.pk:
                target, key = to.db_table, str(to.pk.column)
                yield Reference(
                    table, (of_row,), target, (key,), type_column=of_type, type_value=number
                )


def _generic_columns() -> Iterator[tuple[str, str, str]]:
    """The tables that refer to others by content type: in which columns they hold type and key."""
    for model in apps.get_models(include_auto_created=True):
        names = {field.name: field.column for field in model._meta.concrete_fields}
        for field in model._meta.private_fields:
            of_type = names.get(getattr(field, "ct_field", ""))
            of_row = names.get(getattr(field, "fk_field", ""))
            if of_type and of_row:
                yield model._meta.db_table, of_type, of_row


def _has(structure: Structure, table: str, columns: set[str]) -> bool:
    """Whether both databases have a table with these columns."""
    shape = structure.shape(table)
    wanted = set(map(folded, columns))
    return bool(shape and shape.sides) and all(
        wanted.issubset(map(folded, side.names)) for side in (shape.sides if shape else ())
    )
