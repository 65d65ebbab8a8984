"""The `jscclink.simulator` room. Import it as `jscclink.simulator`; see README.md for what lives here."""

if __name__ != "jscclink.simulator":
    raise ImportError(
        f"this folder was imported as {__name__!r}; it is part of a package: install the project "
        "('pip install -e .') and write 'import jscclink.simulator'"
    )
