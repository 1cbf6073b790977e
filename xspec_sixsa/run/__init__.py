"""One fit, from the session that XSPEC holds to a result and its folder."""
