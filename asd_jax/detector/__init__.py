"""Use it on your own machine: a detector in one file, streams, alarms."""
