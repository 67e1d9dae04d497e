"""Keys negotiated by strongSwan (RFC 4877)."""
