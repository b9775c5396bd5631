"""Implements the runs behind the commands: recordings, encoder, workdir, shards, scores and report.
"""
