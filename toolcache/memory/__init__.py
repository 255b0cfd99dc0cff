"""The memory store and the policies that say what leaves it first."""
