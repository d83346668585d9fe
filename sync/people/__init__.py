"""Who is who: which person a new record speaks of, and what makes us think so.

In: records and users. Out: links, and conflicts that a person must decide. Never: a write of a
plan.
"""
