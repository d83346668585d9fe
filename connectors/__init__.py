"""One vendor or file format a file. They read; they know nothing of storage or policy."""
