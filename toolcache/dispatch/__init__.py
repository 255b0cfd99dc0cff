"""The identity of an agent task and the record of its result."""
