"""Links: the addresses of pages for a mail, where no request says which host and prefix it has."""

from urllib.parse import urlsplit, urlunsplit

from django.urls import NoReverseMatch, reverse

from tenant_backup.conf import conf

PAGE = "tenant_backup:overview"


def on_the_site(route: str = PAGE) -> str | None:
    """The address of a route on `OPERATOR["SITE_URL"]`.

    None without that setting, and where the host's URLs have a prefix whose arguments only a
    request knows, or no such route.
    """
    site = conf.OPERATOR.get("SITE_URL")
    if not site:
        return None
    try:
        return f"{site.rstrip('/')}{reverse(route)}"
    except NoReverseMatch:
        return None


def on_a_host_of_its_own(label: str) -> str | None:
    """The address of the page where the host name begins with this label: `acme.example.com`."""
    address = on_the_site()
    if address is None:
        return None
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=f"{label}.{parts.netloc}"))


def require_web_address(address: object) -> str:
    """The address; raises `ValueError` unless a mail may contain it as a link."""
    parts = urlsplit(address) if isinstance(address, str) else None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"It must begin with http:// or https://, and be no {address!r}.")
    if not str(address).isprintable() or " " in str(address):
        raise ValueError(f"It must contain no spaces and no line breaks: {address!r}.")
    return str(address)
