"""Monitors a user's own machine: a detector in one file, streams and alarms."""
