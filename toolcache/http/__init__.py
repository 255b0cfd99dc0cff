"""What HTTP says about caching: RFC 9111, as rules without I/O."""
