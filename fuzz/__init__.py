"""Fuzzing: every place where octets or text of others come in, and both engines."""
