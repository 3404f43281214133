"""For the templates: moments in words, and the addresses of our pages.

`{{ backup.created_at|when }}`, `{% backups_url "contents" backup_id=backup.pk %}`;
`{% operator_contact as contact %}` for "Ask the operator{{ contact }}."
"""

import re

from django import template
from django.template import RequestContext
from django.utils.safestring import SafeString, mark_safe

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


class CompactNode(template.Node):
    def __init__(self, nodes: template.NodeList) -> None:
        self.nodes = nodes

    def render(self, context: template.Context) -> SafeString:
        # The nodes have escaped what they contain. No element is added, and none is removed.
        return mark_safe(re.sub(r"\n\s+", "\n", self.nodes.render(context)))  # noqa: S308


@register.tag
def compact(parser: template.base.Parser, token: template.base.Token) -> CompactNode:
    """Leave out the indentation and the empty lines of what is inside: a twentieth of the page.

    Not for what contains `<pre>` or a text area that is filled in.
    """
    nodes = parser.parse(("endcompact",))
    parser.delete_first_token()
    return CompactNode(nodes)
