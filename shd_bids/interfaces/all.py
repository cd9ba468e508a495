"""Every interface, imported at once by the server that the nodes' processes are forked from."""
