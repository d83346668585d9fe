"""The vendors: how each serves the district's people, from facts that the vendors publish.

In: a day of the district. Out: that vendor's answers, or files. Never: code of the connectors.
"""
