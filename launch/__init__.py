"""Entry points: `python -m launch.COMMAND`, each a page of flags over the rooms of research/."""
