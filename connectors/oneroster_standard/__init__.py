"""OneRoster 1.1 and 1.2 as the standard has it: its words, records, paging and manifest.

In: rows of CSV or records of REST. Out: our records. Never: the name of a vendor that speaks
OneRoster, or what only that vendor does differently.
"""
