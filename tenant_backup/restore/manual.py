"""Restoring by hand: the exact commands for one backup, to be pasted into a shell.

Paths in, text out; the comments are in the active language. `docs/emergency.md` shows the same
commands, and the tests run them.
"""

import shlex
from pathlib import Path
from textwrap import fill

from tenant_backup.command_lines import command
from tenant_backup.texts import Text

COMMENTS = {
    "before": Text(
        "Before: stop everything that uses the database (the web server, the cluster, cron jobs)."
    ),
    "copy": Text(
        "Copy the backup to a temporary file beside the database, and compare its checksum."
    ),
    "check": Text("Check it, and give it the owner and mode of the database."),
    "aside": Text(
        "Move the old database and its companion files into a folder, so that you can undo the "
        "restore."
    ),
    "place": Text("Nothing of the old database is left beside the new one now."),
    "after": Text(
        "Afterwards: if the catalog is in this database, it is now as old as the backup. So first "
        "run the command below, which tells it about newer files; then start everything again and "
        "check the data."
    ),
}

COMMANDS = """\
sh -eu <<'RESTORE'
{before}
database={database}
backup={backup}
sha256={sha256}
sync={sync}

{copy}
trap 'rm -f "$database.restored"' EXIT
rm -f "$database.restored"
cp "$backup" "$database.restored"
if [ "$(sha256sum < "$database.restored" | cut -c 1-64)" != "$sha256" ]; then
    echo "$backup is damaged: nothing was done." >&2
    exit 1
fi

{check}
python3 - "$database" "$database.restored" <<'CHECK'
import os, pathlib, sqlite3, sys
old, new = map(pathlib.Path, sys.argv[1:])
check = sqlite3.connect(f"{{new.absolute().as_uri()}}?immutable=1", uri=True)
try:
    if check.execute("PRAGMA integrity_check").fetchone() != ("ok",):
        sys.exit(f"{{new}} is damaged: nothing was done.")
except sqlite3.DatabaseError as error:
    if "no such collation" not in str(error) and "function" not in str(error):
        sys.exit(f"{{new}} is not a sound database ({{error}}): nothing was done.")
    print(f"Only the checksum was checked: the full check needs the project's code ({{error}}).")
like = (old if old.exists() else old.parent).stat()
try:
    os.chown(new, like.st_uid, like.st_gid)
    os.chmod(new, like.st_mode & 0o777 if old.exists() else 0o600)
except OSError as error:
    sys.exit(f"The owner of {{old}} cannot be kept ({{error}}): nothing was done. Try it as root.")
CHECK
sync

{aside}
aside="$database-before-$(date -u +%Y%m%dT%H%M%SZ)"
mkdir "$aside"
for companion in '' -wal -shm -journal; do
    if [ -e "$database$companion" ]; then mv "$database$companion" "$aside/"; fi
done

{place}
mv "$database.restored" "$database"
echo "Restored $database. What was there before is in $aside."

{after}
echo "Now run, in the folder of manage.py: $sync"
RESTORE
"""


def commands(database: Path, backup: Path, sha256: str, *, tenant_id: str) -> str:
    """What to paste into a shell to restore this backup.

    `sha256` is the backup's checksum. The paths must not be symbolic links.
    """
    return COMMANDS.format(
        database=shlex.quote(str(database)),
        backup=shlex.quote(str(backup)),
        sha256=sha256,
        sync=shlex.quote(command("syncbackups", tenant_id)),
        **{name: _comment(text) for name, text in COMMENTS.items()},
    )


def _comment(text: Text) -> str:
    return fill(str(text), 98, initial_indent="# ", subsequent_indent="# ", break_long_words=False)
