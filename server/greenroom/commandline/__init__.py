"""The commands behind :mod:`greenroom.cli`, one module each; what a command needs is imported when it runs."""
