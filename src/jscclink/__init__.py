"""jscclink: an end-to-end link simulator for image transmission."""

from importlib.metadata import version

__version__ = version("jscclink")
