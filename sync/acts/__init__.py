"""What a person asks for: approve, undo, edit, merge, switch vendors, upload.

In: what somebody asks for, who it is, and why. Out: an applied plan, or one that waits to be
applied. Never: a write of a user except through ``sync/ledger``.
"""
