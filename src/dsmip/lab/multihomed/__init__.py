"""The tour of a mobile router with several uplinks: handovers planned, pulled and silent, and flows."""
