"""Moments and outcomes in words, for the templates: `{{ backup.created_at|when }}`."""

from django import template

from tenant_backup import words

register = template.Library()
register.filter("when", words.when)
register.filter("ago", words.ago)
register.filter("outcome", words.outcome_in_words)
