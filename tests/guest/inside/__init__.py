"""What runs inside the guest, on a kernel with ESP. Nothing here is collected on the host."""
