"""The language of the app's part of a page.

A host may have languages that this app has no translation for. Then the whole part of the app,
dates included, is in another language and marked so. The frame around it keeps its own.
"""

import gettext
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache, partialmethod

from django.apps import apps
from django.conf import settings
from django.contrib import messages as django_messages
from django.http import HttpRequest
from django.utils import translation
from django.utils.html import format_html
from django.utils.safestring import SafeString

SOURCE = "en"
"""The language of the texts in the code."""

PROBE = "How to get data back"
"""A message catalog that translates this text translates the app."""

_frame: ContextVar[str | None] = ContextVar("frame", default=None)


def has_words(language: str) -> bool:
    """Whether there is a translation of the app, ours or the host's."""
    if language.split("-")[0] == SOURCE:
        return True
    folders = [*settings.LOCALE_PATHS, *(f"{app.path}/locale" for app in apps.get_app_configs())]
    return _translates(translation.to_locale(language), tuple(map(str, folders)))


@lru_cache
def _translates(locale: str, folders: tuple[str, ...]) -> bool:
    catalogs = (
        gettext.translation("django", folder, [locale], fallback=True) for folder in folders
    )
    return any(catalog.gettext(PROBE) != PROBE for catalog in catalogs)


def of_the_app() -> str:
    """The active language if the app has it, else the site's, else English."""
    active = translation.get_language() or SOURCE
    wanted = (active, settings.LANGUAGE_CODE)
    return next((language for language in wanted if has_words(language)), SOURCE)


@contextmanager
def speaking() -> Iterator[None]:
    """Within this block every text is in the language of the app."""
    token = _frame.set(translation.get_language())
    try:
        with translation.override(of_the_app()):
            yield
    finally:
        _frame.reset(token)


@contextmanager
def in_the_frame() -> Iterator[None]:
    """Within this block, inside `speaking`, every text is in the language of the host again."""
    with translation.override(_frame.get()):
        yield


def marks() -> SafeString:
    """The HTML attributes that give the language and direction of an element of the app."""
    language = of_the_app()
    direction = "rtl" if language.split("-")[0] in settings.LANGUAGES_BIDI else "ltr"
    return format_html(' lang="{}" dir="{}"', language, direction)


class Messages:
    """Django's messages, each marked with its language if the frame has another one."""

    def add(self, level: int, request: HttpRequest, text: str) -> None:
        if _frame.get() not in (None, translation.get_language()):
            text = format_html("<span{}>{}</span>", marks(), text)
        django_messages.add_message(request, level, text)

    info = partialmethod(add, django_messages.INFO)
    success = partialmethod(add, django_messages.SUCCESS)
    warning = partialmethod(add, django_messages.WARNING)
    error = partialmethod(add, django_messages.ERROR)


messages = Messages()
