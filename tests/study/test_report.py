"""What is written of a study: findings that are read again, a report, and hostile text that stays text."""

import json
import zipfile
from io import BytesIO

import pytest

from analysis.errors import UserError
from analysis.exhibits.study_report import report_folder, report_html
from analysis.study.findings import PartFound, read, write
from tests.study.helpers import study

HOSTILE = "</script><img src=x onerror=alert(1)>"


def test_findings_are_read_as_they_were_written(tmp_path):
    found = study(noise=0.1)
    write(found, tmp_path / "one.json.gz")
    write(found, tmp_path / "two.json.gz")
    assert read(tmp_path / "one.json.gz") == found
    assert (tmp_path / "one.json.gz").read_bytes() == (tmp_path / "two.json.gz").read_bytes()


@pytest.mark.parametrize("content", [b"", b"no gzip", b"\x1f\x8b\x08\x00broken"])
def test_a_file_that_holds_no_study_is_refused(tmp_path, content):
    (tmp_path / "bad.json.gz").write_bytes(content)
    with pytest.raises(UserError, match="holds no study"):
        read(tmp_path / "bad.json.gz")


def test_the_report_holds_figures_verdict_and_conditions_and_hostile_text_stays_text():
    html = report_html(study(noise=0.1, prompt=HOSTILE))
    assert "default-src &#39;none&#39;" in html or "default-src 'none'" in html
    assert "From the dense model to Sink-Wanda at 50 %" in html and "All differences" in html
    assert "comes with noise, order and norm together" in html
    assert "<img src=x" not in html and "&lt;img src=x" in html
    assert "http://" not in html.split('id="packed"')[0].replace("http://www.w3.org", "")
    assert len(html) < 6 * 2**20


def test_the_report_says_why_a_part_has_nothing_or_departs_from_what_is_asked():
    found = study(noise=0.1)
    told = (
        PartFound(name="watch", state="failed", reason="No room."),
        PartFound(name="causes", state="not asked", reason="Its keys cannot be blocked."),
        PartFound(name="pruning", state="done"),
    )
    html = report_html(found.model_copy(update={"parts": told}))
    assert "This part failed. No room." in html
    assert "Its keys cannot be blocked." in html and html.count("This part") == 1


def test_the_folder_holds_every_figure_and_table(monkeypatch):
    monkeypatch.setattr("analysis.exhibits.study_report.pictures", lambda figures: ({}, "No browser."))
    with zipfile.ZipFile(BytesIO(report_folder(study(noise=0.1)))) as archive:
        names = set(archive.namelist())
        numbers = json.loads(archive.read("study.json"))
        verdict = archive.read("verdict.txt").decode()
        assert archive.read("pictures.txt") == b"No browser.\n"
    assert {"report.html", "contrasts.csv", "settings.csv", "figure-seeds.html", "figure-seeds.csv"} <= names
    assert numbers["format"] == "sinkscope-study-4"
    assert "Does the discount help?" in verdict and "Controlled" not in verdict.splitlines()[0]
