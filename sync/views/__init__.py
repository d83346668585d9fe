"""Views: what people and programs read, in the JSON shapes of the reference.

In: the tables. Out: JSON, page by page. Never: a write.
"""
