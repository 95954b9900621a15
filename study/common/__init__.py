"""Tools that know nothing of the study, such as errors, settings and commands."""
