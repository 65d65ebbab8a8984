"""Data of a report with one of everything, made up."""

import io

from PIL import Image

from jscclink.simulator.report import (
    Chart,
    Comparison,
    Constellation,
    Distribution,
    Picture,
    RateMap,
    ReportData,
    Series,
    Steps,
    Table,
)


def png(colour, size=(96, 64)):
    data = io.BytesIO()
    Image.new("RGB", size, colour).save(data, "PNG")
    return data.getvalue()


def example():
    x = (0.0, 5.0, 10.0)
    psnr = Chart(
        "PSNR",
        "Es/N0 (dB)",
        "PSNR (dB)",
        (
            Series("A <b>&</b>", x, (20.0, 25.0, 30.0), (19.0, 24.0, 29.0), (21.0, 26.0, 31.0), (0.1, 0.1, 0.1)),
            Series("bound", x, (30.0, 31.0, 32.0), kind="bound"),
            Series("paper", (5.0,), (27.0,), kind="published", note="somebody, table 1"),
            Series("oracle envelope of A*", x, (20.0, 25.0, 30.0), kind="envelope"),
        ),
    )
    spread = Distribution(
        "Distribution of PSNR",
        "PSNR (dB)",
        tuple(
            Steps(label, series, f"{at:g} dB", (20 + at, 22 + at), (0.25, 1.0), mark, kind)
            for label, series, kind in (("A <b>&</b>", "A <b>&</b>", "measured"), ("bound", "bound", "bound"))
            for at in x
            for mark in [(20 + at, None, 22 + at) if kind == "measured" else None]
        ),
        "2 of 3 <SNRs>",
    )
    outage = Chart(
        "outage",
        "Es/N0 (dB)",
        "outage rate",
        (Series("A <b>&</b>", x, (0.5, 0.01, 0.0), (0.4, 0.001, 0.0), (0.6, 0.02, 0.01), upper=(False, False, True)),),
        log_y=True,
    )
    pictures = tuple(
        Picture(scheme, snr, png((red, int(20 * snr), 0)), f"{snr} dB")
        for scheme, red in (("A", 250), ("B", 9))
        for snr in (0.0, 10.0)
    )
    rows = tuple((scheme, value, "ab" * 32) for scheme, value in (("b", 10.0), ("a", 9.123456789), ("c", None)))
    return ReportData(
        title="A study </title><script>alert(1)</script>",
        summary="Two & more.",
        study="name: x  # </pre></script>\n",
        command="jscclink run x.yaml",
        provenance={"torch": "2.13", "seed": "3"},
        charts=(psnr, outage),
        distributions=(spread,),
        comparisons=(Comparison("kodim05 on AWGN", png((0, 0, 250)), pictures),),
        constellations=(Constellation("A at 10 dB", (0.5, -0.5), (0.5, float("nan"))),),
        rate_maps=(RateMap("A", ((1.0, 2.0), (3.0, 4.0)), "uses"),),
        tables=(Table("Points", ("scheme", "psnr", "id"), rows, exact=("id",), note="What <it> is."),),
        notices=("One line was damaged.",),
        citations=("@misc{x,\n}",),
    )
