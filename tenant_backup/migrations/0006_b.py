from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tenant_backup", "0005_faults"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="backup",
            index=models.Index(
                condition=models.Q(("deleting_at__isnull", False)),
                fields=["deleting_at"],
                name="tenant_backup_deleting",
            ),
        ),
    ]
