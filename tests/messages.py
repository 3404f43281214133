"""The translations: `python -m tests.messages` brings the German ones in line with the code.

A text that is new gets an empty translation, one that is gone leaves, and what Django reads is
compiled. The texts of errors need no mark, for the errors' own names say where they are.
"""

import ast
import re
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.utils.translation.template import templatize

import tenant_backup
from tenant_backup import exceptions
from tenant_backup.texts import Text

APP = Path(tenant_backup.__file__).parent
PO = APP / "locale" / "de" / "LC_MESSAGES" / "django.po"
MO = PO.with_suffix(".mo")

ERRORS = {
    name
    for name, value in vars(exceptions).items()
    if isinstance(value, type) and issubclass(value, Text)
}
KEYWORDS = {
    **dict.fromkeys(["_", "gettext", "gettext_lazy", "gettext_noop", *ERRORS], (1,)),
    **dict.fromkeys(["ngettext", "ngettext_lazy", "Counted"], (1, 2)),
    **dict.fromkeys(["pgettext", "pgettext_lazy"], ((1, "c"), 2)),
    **dict.fromkeys(["npgettext", "npgettext_lazy"], ((1, "c"), 2, 3)),
}


class German(Catalog):
    """A catalog whose header says nothing that another day or version would change."""

    # Babel has a property here; newer versions of it are typed.
    mime_headers = [  # type: ignore[override, unused-ignore]
        ("Language", "de"),
        ("MIME-Version", "1.0"),
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Transfer-Encoding", "8bit"),
        ("Plural-Forms", "nplurals=2; plural=(n != 1);"),
    ]

    def __init__(self):
        super().__init__("de", header_comment="# German, in the polite form.", fuzzy=False)


def in_code():
    """Every text that the code and the templates have translated, without translations."""
    catalog = German()
    for path in sorted(APP.rglob("*.py")):
        _add(catalog, _calls, path.read_text(), path)
    for path in templates():
        # What is left of the markup keeps its indentation, which Python would not understand.
        source = templatize(path.read_text(), origin=path)
        _add(catalog, "python", re.sub(r"(?m)^[^\S\n]+", "", source), path)
    return catalog


def _add(catalog, method, source, path):
    for line, text, _comments, context in extract(method, BytesIO(source.encode()), KEYWORDS):
        catalog.add(text, context=context, locations=[(str(path), line)])


def templates():
    """The templates of pages and of mails."""
    return sorted(path for path in APP.rglob("templates/**/*") if path.suffix in {".html", ".txt"})


def _calls(stream, keywords, comment_tags, options):
    """An extractor for Babel, whose own one overlooks what is called within an f-string."""
    for node in ast.walk(ast.parse(stream.read())):
        name = isinstance(node, ast.Call) and getattr(node.func, "id", None)
        if name in keywords:
            yield node.lineno, name, tuple(map(_constant, node.args)), []


def _constant(argument):
    """The text that an argument is; None for one that is not known before it runs."""
    is_text = isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    return argument.value if is_text else None


def saved():
    """The translations as they are in the repository."""
    if not PO.exists():
        return German()
    with PO.open("rb") as stream:
        return read_po(stream, locale="de", abort_invalid=True)


def key(message):
    """What a text is known by: its context, and the text or both of its forms."""
    context = message.context
    if isinstance(context, bytes):  # as Babel reads it from what is compiled
        context = context.decode()
    return context, tuple(message.id) if message.pluralizable else message.id


def texts(catalog):
    """The messages of a catalog by their keys, without its header."""
    return {key(message): message for message in catalog if message.id}


def translations(message):
    """What a message is in German, in each of its forms."""
    return list(message.string) if message.pluralizable else [message.string]


def main():
    known, catalog = texts(saved()), in_code()
    for name, message in texts(catalog).items():
        if name in known:
            message.string = known[name].string
    PO.parent.mkdir(parents=True, exist_ok=True)
    with PO.open("wb") as stream:
        write_po(stream, catalog, no_location=True, sort_output=True)
    with MO.open("wb") as stream:
        write_mo(stream, catalog)
    for name, message in texts(catalog).items():
        if not all(translations(message)):
            print("untranslated:", name)


if __name__ == "__main__":
    main()
