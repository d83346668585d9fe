"""Views: what people and programs read, in the JSON shapes of the outside contract.

In: the tables. Out: JSON, page by page. Never: a write.
"""
