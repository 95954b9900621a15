"""Show a finished run's most confident mistakes and least confident hits."""
