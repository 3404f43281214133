"""The addresses of our pages, as the current request reaches them.

A host may include the routes below a prefix that captures arguments, and in a namespace of its own:
`path("t/<slug:tenant_slug>/", include("tenant_backup.urls"))`. A page that was reached that way
links to the others below the same prefix.
"""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest
from django.urls import reverse

APP_NAME = "tenant_backup"

OUR_ARGUMENTS = frozenset({"backup_id"})
"""What our own routes capture. Every other argument belongs to the host's prefix."""


def address_of(request: HttpRequest, route: str, **arguments: object) -> str:
    """The path of one of our routes, such as `overview`, below the prefix of this request."""
    match = request.resolver_match
    if match is None or match.app_names[-1:] != [APP_NAME]:
        # The host calls our view from a route of its own.
        return reverse(f"{APP_NAME}:{route}", kwargs=arguments)
    # The extra ones are constants in the host's URLconf, which no address contains.
    constants = match.extra_kwargs  # type: ignore[attr-defined]  # the stubs lack it
    others = OUR_ARGUMENTS.union(constants)
    prefix = {name: value for name, value in match.kwargs.items() if name not in others}
    return reverse(
        f"{match.namespace}:{route}",
        kwargs={**prefix, **arguments},
        current_app=match.namespace,
    )


def our_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What our own route captured, without what belongs to the host's prefix."""
    return {name: value for name, value in arguments.items() if name in OUR_ARGUMENTS}
