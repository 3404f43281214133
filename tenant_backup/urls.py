"""The page's routes. Include them at the root: the addresses are part of the app's contract."""

from django.urls import path

from tenant_backup import views

app_name = "tenant_backup"

urlpatterns = [
    path("settings/admin/backup", views.overview, name="overview"),
    path("settings/admin/backup/settings", views.settings, name="settings"),
    path("settings/admin/backup/create", views.create, name="create"),
    path("settings/admin/backup/delete", views.delete, name="delete"),
    path("settings/admin/backup/pin", views.pin, name="pin"),
    # Text, not a number: who may not download at all shall not learn which ids are well-formed.
    path("settings/admin/backup/download/<str:backup_id>", views.download, name="download"),
    path("settings/admin/backup/contents/<str:backup_id>", views.contents, name="contents"),
    path("settings/admin/backup/summary", views.summary, name="summary"),
    path("settings/admin/backup/diagnosis", views.diagnose, name="diagnosis"),
    path("settings/admin/backup/history", views.history, name="history"),
    path("settings/admin/backup/status", views.status, name="status"),
    # The addresses have no slash at their end. Who types one is led to the page all the same.
    path("settings/admin/backup/", views.without_slash),
    path("settings/admin/backup/contents/<str:backup_id>/", views.without_slash),
    path("settings/admin/backup/diagnosis/", views.without_slash),
    path("settings/admin/backup/history/", views.without_slash),
]
