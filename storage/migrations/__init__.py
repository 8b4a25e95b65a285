"""Versioned schema changes, written in SQL. The only place that imports Alembic and SQLAlchemy."""
