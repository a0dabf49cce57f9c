"""The command line: ``nebula-tune``."""
