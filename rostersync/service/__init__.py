"""The clock: which districts are due, who runs them, and whom the service tells.

In: the time, and the standing of every district. Out: syncs in processes of their own, and
notifications. Never: a change of a user, or a decision about one.
"""
