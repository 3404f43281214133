"""True, verified backups of every tenant's SQLite database in a multi-tenant Django project."""

__version__ = "0.1.0"
