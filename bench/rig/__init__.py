"""The rig: whole processes, the databases they work on, and the table of their figures."""
