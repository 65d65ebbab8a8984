"""The data that come with the package: `kodak/`, the 24 pictures of the Kodak test suite."""

if __name__ != "jscclink.data":
    raise ImportError(
        f"this folder was imported as {__name__!r}; it is part of a package: install the project "
        "('pip install -e .') and write 'import jscclink.data'"
    )
