"""What servers and clients share: addresses, options, closing, conversions, the lock."""
