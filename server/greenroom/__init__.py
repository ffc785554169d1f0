"""Greenroom: a Socket.IO event-driven server for AI characters."""

__version__ = "0.1.0"
