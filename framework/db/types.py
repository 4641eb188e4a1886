"""Names for psycopg2's classes, so that other rooms can annotate with them and not import psycopg2."""

import psycopg2.extensions

Connection = psycopg2.extensions.connection
Cursor = psycopg2.extensions.cursor

__all__ = ["Connection", "Cursor"]
