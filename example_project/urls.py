"""The example's own pages and the admin."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

from example_project import views

urlpatterns = [
    path("", include("tenant_backup.urls")),
    path("", views.home, name="home"),
    path("accident", views.accident, name="accident"),
    path("login", LoginView.as_view(template_name="example/login.html"), name="login"),
    path("logout", LogoutView.as_view(), name="logout"),
    path("admin/", admin.site.urls),
]
