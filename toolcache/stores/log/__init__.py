"""The file store: one append-only log per process in a directory that all share."""
