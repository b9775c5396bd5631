"""Produces output for people: tables, plots and pages."""
