"""Planning: everybody who is open is decided once, limits are judged, and the plan is sealed.

In: evidence, directory and season. Out: one plan to apply and at most one held plan. Never:
changing a user.
"""
