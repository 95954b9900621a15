"""Tools that know nothing of the study: errors, settings, commands, files, progress."""
