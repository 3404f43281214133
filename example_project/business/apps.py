"""The app whose tables are in each tenant's own database."""

from django.apps import AppConfig


class BusinessConfig(AppConfig):
    name = "example_project.business"
    default_auto_field = "django.db.models.BigAutoField"
