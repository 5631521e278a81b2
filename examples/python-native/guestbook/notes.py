"""The notes: in PostgreSQL when DATABASE_URL names one, else in this process's memory."""

import os

import psycopg2

_TABLE = "CREATE TABLE IF NOT EXISTS notes (id serial PRIMARY KEY, name text NOT NULL, text text NOT NULL)"


class MemoryNotes:
    """Keeps notes until the process ends."""

    where = "in memory"

    def __init__(self):
        self._notes = []

    def all(self):
        return list(self._notes)

    def add(self, name, text):
        self._notes.append({"name": name, "text": text})


class DatabaseNotes:
    """Keeps notes in a table."""

    def __init__(self, url):
        self._url = url
        known = psycopg2.extensions.parse_dsn(url)
        self.where = f"in {known.get('dbname', 'the default database')} on {known.get('host', 'this machine')}"
        self._run(_TABLE)

    def all(self):
        rows = self._run("SELECT name, text FROM notes ORDER BY id", fetch=True)
        return [{"name": name, "text": text} for name, text in rows]

    def add(self, name, text):
        self._run("INSERT INTO notes (name, text) VALUES (%s, %s)", (name, text))

    def _run(self, statement, values=(), fetch=False):
        connection = psycopg2.connect(self._url)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(statement, values)
                return cursor.fetchall() if fetch else None
        finally:
            connection.close()


def open_notes():
    """Opens the notes where the environment says they are."""
    url = os.environ.get("DATABASE_URL")
    return DatabaseNotes(url) if url else MemoryNotes()
