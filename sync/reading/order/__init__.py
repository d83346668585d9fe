"""The order of a reading: what a source served last time, so that the same bytes are met again.

In: pages and the order kept. Out: which rows are known. Never: what a row says.
"""
