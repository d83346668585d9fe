"""What a connector is, and what every connector may use.

In: nothing from a vendor. Out: the classes that a connector inherits and the values that it
returns. Never: the name of a vendor, a network call of its own, storage.
"""
