"""Sources: configured, connected, checked, and the files that they received.

In: the district file and a connector. Out: a connected source and its health. Never: a look at
people.
"""
