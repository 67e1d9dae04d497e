"""The configuration files: what may stand in them, and what it means."""
