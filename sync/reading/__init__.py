"""Reading: the pages of a source become evidence, and only what changed is parsed.

In: pages from a connector. Out: records, and proof of who is absent. Never: reading users or plans.
"""
