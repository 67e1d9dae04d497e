"""The daemon of a home agent, around its engine."""
