"""The synthetic district: who lives in it on each day, from a seed, with nothing stored.

In: a seed, a size and a script. Out: people and schools of a day. Never: how a vendor serves them.
"""
