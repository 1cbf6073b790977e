"""Summary to posterior: density estimators."""
