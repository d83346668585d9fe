"""HTTP: requests with deadlines and retries, signing in, and the base class of HTTP connectors.

In: a configuration and a path. Out: answers, or an error that says what to do next. Never: the
name of a vendor, storage, or what a record means.
"""
