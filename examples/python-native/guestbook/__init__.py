"""A guest book, kept in PostgreSQL, or in memory where no database is named."""
