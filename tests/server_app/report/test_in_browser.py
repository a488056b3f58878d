"""The report in a real browser; the one place where a person would see that it is broken."""

import shutil
import subprocess

import pytest

from server_app.report import write_report

BROWSER = shutil.which("chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
]


@pytest.mark.deployment
@pytest.mark.skipif(BROWSER is None, reason="chromium is not installed (apt-get install chromium)")
@pytest.mark.parametrize("width", [1280, 500])
@pytest.mark.parametrize("kind", ["summary", "shared"])
def test_the_report_opens_and_fits_the_window(write_run, kind, request, tmp_path, width):
    summary = request.getfixturevalue(kind)
    page = write_report(write_run(summary))
    probe = tmp_path / "probe.html"
    probe.write_text(
        f"<iframe id=r src='{page.as_uri()}' width={width} height=900></iframe><script>"
        "onload = () => { const page = r.contentDocument; document.title = [page.title, "
        "page.documentElement.scrollWidth, page.querySelectorAll('svg').length].join('|'); }</script>"
    )
    dumped = subprocess.run(
        [
            str(BROWSER),
            *FLAGS,
            "--allow-file-access-from-files",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=5000",
            "--dump-dom",
            probe.as_uri(),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout
    title, content, pictures = dumped.split("<title>")[1].split("</title>")[0].split("|")
    assert summary.title in title
    assert int(content) <= width, "nothing sticks out sideways"
    assert int(pictures) >= 4
