"""The commands, one file for each family.

In: options. Out: a call of the public Python API, and its result printed. Never: SQL.
"""
