"""Tests in a virtual machine: the distribution's own kernel, on the host's own root file system."""
