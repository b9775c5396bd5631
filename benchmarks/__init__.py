"""Benchmarks whose figures anyone can reproduce."""
