"""The protocol as engines without I/O: time and packets go in, actions come out."""
