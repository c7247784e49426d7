"""Transports run flows: they move bytes and sleep, and decide nothing. They know no API."""
