"""Forwarding: one eBPF program, its maps and its loader."""
