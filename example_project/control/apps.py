"""The app whose tables are in the control database: the tenants, and who belongs to them."""

from django.apps import AppConfig


class ControlConfig(AppConfig):
    name = "example_project.control"
    default_auto_field = "django.db.models.BigAutoField"
