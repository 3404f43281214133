"""What somebody may have meant who named what does not exist: "Did you mean acme?"."""

import logging
from collections.abc import Iterable
from difflib import get_close_matches

from tenant_backup.tenants import list_tenants

logger = logging.getLogger("tenant_backup")

LONG_ENOUGH = 3
"""A part of a name of so many letters is enough to find it: customers give their names."""

MOST = 3


def similar_tenants(text: str, also: Iterable[str] = ()) -> list[str]:
    """The ids of at most three tenants whose id or name is like this text, the likeliest first.

    `also` are ids that the provider need not know.
    """
    ids = {tenant_id.casefold(): tenant_id for tenant_id in also}
    names: dict[str, str] = {}
    try:
        for tenant in list_tenants().tenants:
            ids[tenant.id.casefold()] = tenant.id
            names[tenant.name.casefold()] = tenant.id
    except Exception:
        logger.exception("The tenant provider failed.")
    wanted = text.casefold().strip()
    found = [ids[key] for key in get_close_matches(wanted, ids, MOST)]
    found += [names[key] for key in get_close_matches(wanted, names, MOST)]
    if len(wanted) >= LONG_ENOUGH:
        found += sorted(tenant_id for name, tenant_id in names.items() if wanted in name)
    return list(dict.fromkeys(found))[:MOST]


def similar_names(text: str, names: Iterable[str]) -> list[str]:
    """At most three of these names that contain this text or are like it."""
    known = {name.casefold(): name for name in names}
    wanted = text.casefold().strip()
    found = [name for key, name in known.items() if len(wanted) >= LONG_ENOUGH and wanted in key]
    found += [known[key] for key in get_close_matches(wanted, known, MOST)]
    return list(dict.fromkeys(found))[:MOST]
