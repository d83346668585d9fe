"""The server: HTTP on loopback, sign-in, and the faults that a test asks for.

In: a request. Out: an answer, or a fault. Never: what a person or school is.
"""
