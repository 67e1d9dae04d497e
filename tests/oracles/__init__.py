"""Other programs that read and write the same packets, asked about messages that hypothesis made up."""
