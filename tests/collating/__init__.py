"""A database engine as some hosts have one: SQLite with a collation and a function of their own."""
