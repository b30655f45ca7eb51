"""The command line: words to a typed config, mistakes to a sentence, sweeps and ranks."""
