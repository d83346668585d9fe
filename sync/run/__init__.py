"""One run under way, and what all rooms above it share: its row, its clock, its outcome.

In: a district. Out: a run with its status. Never: knowledge of any single step.
"""
