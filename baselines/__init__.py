"""The `jscclink.baselines` room. Import it as `jscclink.baselines`; see README.md for what lives here."""

if __name__ != "jscclink.baselines":
    raise ImportError(
        f"this folder was imported as {__name__!r}; it is part of a package: install the project "
        "('pip install -e .') and write 'import jscclink.baselines'"
    )
