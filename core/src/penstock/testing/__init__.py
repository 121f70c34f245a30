"""What tests of Penstock, and of programs built on it, need: an in-memory data plane, and real servers in subprocesses."""
