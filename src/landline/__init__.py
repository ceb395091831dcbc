"""Landline: the communications platform you run yourself, behind the public wire of Azure Communication Services."""

__version__ = "0.1.0"
