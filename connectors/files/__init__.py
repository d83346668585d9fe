"""Roster files: where they are picked up, how they are opened, and how their rows are read.

In: a path, a drop folder or an SFTP server. Out: rows with their file and line. Never: the name
of a vendor, storage, or who a row is about.
"""
