"""jscclink: an end-to-end link simulator for image transmission."""

from importlib.metadata import version

from jscclink.errors import InputError

__all__ = ["InputError", "__version__"]
__version__ = version("jscclink")
