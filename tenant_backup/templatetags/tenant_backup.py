"""For the templates: moments in words, and the addresses of our pages.

`{{ backup.created_at|when }}`, `{% backups_url "contents" backup_id=backup.pk %}`;
`{% operator_contact as contact %}` for "Ask the operator{{ contact }}."
"""

from django import template
from django.template import RequestContext

from tenant_backup import contact, words
from tenant_backup.addresses import address_of

register = template.Library()
register.filter("when", words.when)
register.filter("ago", words.ago)
register.simple_tag(contact.after_the_operator, name="operator_contact")
register.simple_tag(contact.mail_address, name="operator_mail")


@register.simple_tag(takes_context=True)
def backups_url(context: RequestContext, route: str, **arguments: object) -> str:
    """The address of one of our pages, below the prefix that the present page has."""
    return address_of(context.request, route, **arguments)
