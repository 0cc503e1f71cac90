"""What the programs under tests/ and tools/ share: starting servers, and speaking their protocol."""
