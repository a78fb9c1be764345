"""Networks rewritten for engines: one file per kind of network, one protocol for the exports."""
