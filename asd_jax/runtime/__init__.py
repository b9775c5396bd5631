"""Provides what every command needs: exit status, errors, atomic files, processes, log lines."""
