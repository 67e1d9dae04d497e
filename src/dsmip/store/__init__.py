"""Bindings and replay state that survive a crash."""
