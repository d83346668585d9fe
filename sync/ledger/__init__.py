"""The plan as a value: drafted, sealed, applied in one transaction, and chained to the last.

In: changes with their preconditions. Out: the directory as the plan says, or no change at all.
Never: a decision about who changes.
"""
