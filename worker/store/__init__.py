"""Postgres: the only room that sees tables and SQL."""
