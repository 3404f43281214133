"""The addresses of the tests' host: ours, and the admin, whose look our page has."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("tenant_backup.urls")),
    path("admin/", admin.site.urls),
]
