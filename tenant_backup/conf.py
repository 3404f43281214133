"""The app's settings: the dict `TENANT_BACKUP` in the Django settings, read each time.

Nothing is cached, so `override_settings` works. A wrong value raises `ImproperlyConfigured` with
the sentence that the system check E002 prints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, overload
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.validators import validate_email
from django.utils.functional import Promise

T = TypeVar("T")

IsValid = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Part:
    """One key of a setting that is itself a dict."""

    expected: str
    """What a valid value is, in words that complete "must be"."""
    is_valid: IsValid


@dataclass
class Setting(Generic[T]):
    """One key of `TENANT_BACKUP`: its default, and which values are valid."""

    default: T
    expected: str
    """What a valid value is, in words that complete "must be"."""
    is_valid: IsValid
    key: str = ""
    is_secret: bool = False
    """Error messages do not repeat a wrong value."""
    parts: Mapping[str, Part] = field(default_factory=dict)
    """Of a dict, its keys. There may be no others, and none is required."""

    def __set_name__(self, owner: type[Conf], name: str) -> None:
        self.key = name

    @overload
    def __get__(self, instance: None, owner: type[Conf]) -> Setting[T]: ...
    @overload
    def __get__(self, instance: Conf, owner: type[Conf]) -> T: ...
    def __get__(self, instance: Conf | None, owner: type[Conf]) -> Setting[T] | T:
        if instance is None:
            return self
        value: T = instance.raw().get(self.key, self.default)
        if problem := self.problem(value):
            raise ImproperlyConfigured(problem)
        return value

    def problem(self, value: object) -> str | None:
        """A sentence that says what is wrong with the value, or None."""
        if self.is_valid(value):
            return self._problem_of_parts(value) if self.parts else None
        but = "which it is not" if self.is_secret else f"not {value!r}"
        return f"TENANT_BACKUP[{self.key!r}] must be {self.expected}, {but}."

    def _problem_of_parts(self, value: Any) -> str | None:
        for key, given in value.items():
            part = self.parts.get(key)
            if part is None:
                known = ", ".join(self.parts)
                return f"TENANT_BACKUP[{self.key!r}] has an unknown key {key!r}. Known are {known}."
            if not part.is_valid(given):
                place = f"TENANT_BACKUP[{self.key!r}][{key!r}]"
                return f"{place} must be {part.expected}, not {given!r}."
        return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_folder_name(value: object) -> bool:
    return _is_name(value) and value not in {".", ".."} and not set(str(value)) & set("/\\\0")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_web_address(value: object) -> bool:
    if value is None:
        return True
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
        return parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def _is_site(value: object) -> bool:
    """Whether it is an address that the path of a page can follow."""
    return value is not None and _is_web_address(value) and not set(str(value)) & set("?#@ \n")


def _is_email(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        validate_email(value)
    except ValidationError:
        return False
    return True


def _is_text(value: object) -> bool:
    """Whether it is text, or a text that is translated only when it is shown."""
    return isinstance(value, str | Promise)


def _is_text_or_texts(value: object) -> bool:
    return _is_text(value) or (isinstance(value, list | tuple) and all(map(_is_text, value)))


OPERATOR_PARTS = {
    "NAME": Part("text", _is_text),
    "EMAIL": Part("an email address", _is_email),
    "PHONE": Part("text", _is_text),
    "SITE_URL": Part(
        "an address that begins with http:// or https:// and has no ?, # or @", _is_site
    ),
    "SERVICES": Part("text, or a list of texts", _is_text_or_texts),
    "NOT_INCLUDED": Part("text", _is_text),
}


ROWS_LOST_PARTS = {
    "share": Part(
        "a number above 0 and up to 1", lambda value: _is_number(value) and 0 < value <= 1
    ),
    "rows": Part("a whole number above 0", _is_count),
    "exclude": Part(
        "a list of names of tables",
        lambda value: isinstance(value, list | tuple) and all(map(_is_name, value)),
    ),
}


class Conf:
    """Typed access to `TENANT_BACKUP`; use the instance `conf` of this module."""

    TENANT_PROVIDER = Setting(
        "tenant_backup.tenants.SingleTenant",
        "the dotted path of a tenant provider class",
        lambda value: _is_name(value) and "." in value,
    )
    CATALOG_DATABASE = Setting("default", "an alias of DATABASES", _is_name)
    DIRECTORY_NAME = Setting("backups", "the name of one folder", _is_folder_name)
    DEFAULT_SETTINGS: Setting[Mapping[str, Any]] = Setting(
        {},
        "a dict of field names and values of BackupSettings",
        lambda value: isinstance(value, Mapping) and all(isinstance(key, str) for key in value),
    )
    VERIFY = Setting("full", '"full" or "quick"', lambda value: value in ("full", "quick"))
    BUSY_TIMEOUT: Setting[float] = Setting(
        30,
        "a number of seconds above 0 and up to 86400",
        lambda value: _is_number(value) and 0 < value <= 86_400,
    )
    INLINE_MAX_BYTES = Setting(
        32 * 1024 * 1024,
        "a whole number of bytes, 0 or more",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0,
    )
    CLUSTER: Setting[str | None] = Setting(
        None,
        "the name of a django-q2 cluster, or None",
        lambda value: value is None or _is_name(value),
    )
    BACK_UP_BEFORE_MIGRATE = Setting(False, "True or False", lambda value: isinstance(value, bool))
    MAX_BYTES: Setting[int | None] = Setting(
        None,
        "a whole number of bytes above 0, or None",
        lambda value: value is None or _is_count(value),
    )
    MAX_MANUAL = Setting(50, "a whole number above 0", _is_count)
    HISTORY_DAYS = Setting(730, "a whole number of days above 0", _is_count)
    HEARTBEAT_URL: Setting[str | None] = Setting(
        None,
        "an address that begins with http:// or https://, or None",
        _is_web_address,
        is_secret=True,
    )
    HEARTBEAT_FAIL_URL: Setting[str | None] = Setting(
        None,
        "an address that begins with http:// or https://, or None",
        _is_web_address,
        is_secret=True,
    )
    OPERATOR: Setting[Mapping[str, Any]] = Setting(
        {}, "a dict", lambda value: isinstance(value, Mapping), parts=OPERATOR_PARTS
    )

    ROWS_LOST: Setting[Mapping[str, Any]] = Setting(
        {"share": 0.2, "rows": 20, "exclude": []},
        "a dict",
        lambda value: isinstance(value, Mapping),
        parts=ROWS_LOST_PARTS,
    )

    @staticmethod
    def raw() -> Mapping[str, Any]:
        """The dict as the host wrote it; empty where there is none."""
        value = getattr(settings, "TENANT_BACKUP", {})
        if not isinstance(value, Mapping):
            raise ImproperlyConfigured(f"TENANT_BACKUP must be a dict, not {value!r}.")
        return value

    @classmethod
    def known(cls) -> Iterator[Setting[Any]]:
        """Every setting, in the order of this file."""
        return (value for value in vars(cls).values() if isinstance(value, Setting))


conf = Conf()
