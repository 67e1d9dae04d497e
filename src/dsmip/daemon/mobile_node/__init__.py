"""The daemon of a mobile node or mobile router, around its engine."""
