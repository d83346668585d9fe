"""Storage: SQLite and PostgreSQL behind one door, and the tables said once.

In: statements. Out: rows. Never: what a row means.
"""
