"""Sources: their configuration, connection and health, and the files that they received.

In: the district file and a connector. Out: a connected source and its health. Never: reading
people.
"""
