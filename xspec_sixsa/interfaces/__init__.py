"""The ways in: PyXspec's fitting methods, the shell, session files in batch queues, and XSPEC's prompt."""
