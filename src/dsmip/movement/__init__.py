"""Where am I attached: link, router and lease observations become care-of addresses."""
