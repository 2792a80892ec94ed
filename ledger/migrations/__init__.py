"""Revisions of the books' schema, oldest first; a released one is never edited."""
