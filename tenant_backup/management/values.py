"""Values from a tenant's database, as commands print them: no two different ones look the same."""

import math
from typing import Any


def as_literal(value: object) -> str:
    """A value as SQL writes it: `NULL`, `7`, `'007'`, `x'00ff'`.

    An `e` before a text says that it has escapes for what cannot be printed, as in PostgreSQL.
    """
    match value:
        case None:
            return "NULL"
        case bytes():
            return f"x'{value.hex()}'"
        case str():
            signs = value.replace("'", "''")
            if signs.isprintable():
                return f"'{signs}'"
            return f"e'{''.join(map(_escaped, signs))}'"
        case _:
            return str(value)


def as_json_value(value: object) -> Any:
    """A value as JSON can hold it: bytes as `{"hex": …}`, an infinite number as `{"real": …}`."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"real": str(value)}
    return value


def _escaped(sign: str) -> str:
    return sign if sign.isprintable() and sign != "\\" else ascii(sign)[1:-1]
