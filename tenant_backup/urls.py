"""The page's routes. Include them at the root, or below a prefix of your own."""

from django.urls import path

from tenant_backup import views
from tenant_backup.addresses import APP_NAME

app_name = APP_NAME

urlpatterns = [
    path("settings/admin/backup", views.overview, name="overview"),
    path("settings/admin/backup/settings", views.settings, name="settings"),
    path("settings/admin/backup/create", views.create, name="create"),
    path("settings/admin/backup/delete", views.delete, name="delete"),
    path("settings/admin/backup/pin", views.pin, name="pin"),
    # Text, not a number: a user who may not download must not learn which ids are well-formed.
    path("settings/admin/backup/download/<str:backup_id>", views.download, name="download"),
    path("settings/admin/backup/contents/<str:backup_id>", views.contents, name="contents"),
    path("settings/admin/backup/rows/<str:backup_id>", views.table_rows, name="rows"),
    path("settings/admin/backup/ask", views.ask, name="ask"),
    path("settings/admin/backup/withdraw", views.withdraw, name="withdraw"),
    path("settings/admin/backup/intended", views.intended, name="intended"),
    path("settings/admin/backup/summary", views.summary, name="summary"),
    path("settings/admin/backup/test-mail", views.test_mail, name="test_mail"),
    path("settings/admin/backup/diagnosis", views.diagnose, name="diagnosis"),
    path("settings/admin/backup/history", views.history, name="history"),
    path("settings/admin/backup/status", views.status, name="status"),
    # The addresses have no slash at the end. With one, they redirect to the page.
    path("settings/admin/backup/", views.without_slash),
    path("settings/admin/backup/contents/<str:backup_id>/", views.without_slash),
    path("settings/admin/backup/rows/<str:backup_id>/", views.without_slash),
    path("settings/admin/backup/diagnosis/", views.without_slash),
    path("settings/admin/backup/history/", views.without_slash),
]
