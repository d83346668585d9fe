"""Clever, API v3: its users and schools, its events, and the records that both serve.

Start at ``connector.py``. In: Clever's answers. Out: records and certificates.
"""
