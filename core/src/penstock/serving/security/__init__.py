"""What stands between a port and its requests: TLS, who calls, what they may do, how often, and from which web pages."""
