"""Who is who: which person a new record belongs to, and on what evidence.

In: records and users. Out: links, and conflicts that a person must decide. Never: writing a plan.
"""
