"""What `docs/emergency.md` shows is what the commands print: `python -m tests.emergency` renews it.

Each block that begins with `$ python manage.py` is run on the example project, in the order of the
page, in which things go wrong as the page tells it. What differs from day to day, such as times,
is no difference.
"""

import re
import sqlite3
import tempfile
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from tests.example import TOP, Project

PAGE = TOP / "docs" / "emergency.md"
DATA = "/srv/mysite/var"
"""Where the page has the data of the example project."""

BLOCK = re.compile(
    r"^(?P<indent> *)```console\n *\$ python manage\.py (?P<command>.+)\n"
    r"(?P<output>(?:.*\n)*?) *```$",
    re.MULTILINE,
)

DIFFERS = {
    r"\d{4}-\d\d-\d\d": "DAY",
    r"\d\d:\d\d(:\d\d)?": "TIME",
    r"\d{8}T\d{6}Z(-\d)?": "MOMENT",
    r"\d+(\.\d+)? ?[KMG]B": "SIZE",
    r"\d+ (second|minute|hour|day)s?": "AGE",
    r"\d+ \(.+?\)+(?=[.,;\s]|$)": "PROCESS",
    r" {2,}": "  ",  # a wider or narrower column
}

ANSWERS = {"restorebackup acme 1": {"(acme): ": "acme"}}
"""What somebody types, by the end of the question."""


def commands(page):
    """What the page shows: each command with its output."""
    return [
        (block["command"], _without(block["indent"], block["output"]))
        for block in BLOCK.finditer(page)
    ]


def _without(indent, text):
    return re.sub(f"^{indent}", "", text, flags=re.MULTILINE)


def of_no_day(output):
    """The output without what differs from day to day."""
    for pattern, word in DIFFERS.items():
        output = re.sub(pattern, word, output)
    return output


class Emergency:
    """The example project on its bad day."""

    def __init__(self, folder):
        self.project = Project(folder)
        self.project.manage("setup_example", "--scale", "0.02")
        self.project.manage("runbackup", "--label", "before the update")
        self._change("DELETE FROM business_ticket WHERE id > 100")

    def _change(self, statement):
        with closing(sqlite3.connect(self.project.database("acme"))) as database, database:
            database.execute(statement)

    def run(self, command):
        """What the command says to somebody at a terminal, in the situation that the page tells."""
        before = {
            "restorebackup acme --latest --no-input": self._in_use,
            "syncbackups": self._control_database_lost,
        }
        with ExitStack() as stack:
            if command in before:
                stack.enter_context(before[command]())
            answers = ANSWERS.get(command, {})
            done = self.project.python(
                "manage.py",
                *command.split(),
                answer="".join(f"{text}\n" for text in answers.values()),
            )
        said = done.stdout + done.stderr
        for question, answer in answers.items():
            assert question in said, said
            said = said.replace(question, f"{question}{answer}\n")
        return said.replace(str(self.project.data), DATA)

    @contextmanager
    def _in_use(self):
        with closing(sqlite3.connect(self.project.database("acme"))) as database:
            database.execute("BEGIN")
            database.execute("SELECT count(*) FROM business_ticket").fetchone()
            yield

    @contextmanager
    def _control_database_lost(self):
        for file in self.project.data.glob("control.sqlite3*"):
            file.unlink()
        # It brings the tenants back, which the example has in the control database, and migrates.
        self.project.manage("setup_example", "--scale", "0.02")
        yield


def main():
    page = PAGE.read_text()
    with tempfile.TemporaryDirectory() as folder:
        emergency = Emergency(Path(folder))

        def renewed(block):
            said = emergency.run(block["command"])
            said = re.sub(r"\b\d+ \(\S*python[^)]*\)", "4711 (gunicorn)", said)
            shown = _without(block["indent"], block["output"])
            if of_no_day(said) == of_no_day(shown):
                return block[0]
            lines = [
                "```console",
                f"$ python manage.py {block['command']}",
                *said.splitlines(),
                "```",
            ]
            return "\n".join(f"{block['indent']}{line}" if line else "" for line in lines)

        PAGE.write_text(BLOCK.sub(renewed, page))


if __name__ == "__main__":
    main()
