"""The rules, as pure functions: situations, limits, seasons, the rollover, times, reasons.

In: values. Out: values. Never: SQL, a clock, or input and output.
"""
