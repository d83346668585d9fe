"""One vendor or file format a file. They read; they know nothing of storage, policy or each other."""
