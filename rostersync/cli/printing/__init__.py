"""How results are printed: plans, people, outcomes and errors, in words.

In: the JSON shapes of the outside contract. Out: text for a terminal. Never: a database.
"""
