"""From a session and priors to exactly weighted draws: emulator, compressor, neural posterior, search, weights."""
