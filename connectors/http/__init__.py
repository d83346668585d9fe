"""HTTP: requests with deadlines and retries, signing in, and the base of connectors that use them.

In: a configuration and a path. Out: answers, or an error that says what to do next. Never: the
name of a vendor, storage, or what a record means.
"""
