"""Networks rewritten for engines: one file a kind of network, one protocol for what an export asks of them."""
