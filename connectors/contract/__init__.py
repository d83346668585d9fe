"""What a connector is, and what every connector may lean on.

In: nothing of a vendor's. Out: the classes that a connector inherits and the values that it
returns. Never: the name of a vendor, a network call of its own, storage.
"""
