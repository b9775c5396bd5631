"""What every command stands on: exit status, errors, whole files, processes, log lines."""
