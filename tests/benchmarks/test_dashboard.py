"""The dashboard: its page in a real browser, and what it makes of results of all kinds."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browser import chromium, needs_browser
from matplotlib.image import imread
from planned import planned, suite_commands

from benchmarks import floors
from benchmarks.dashboard import __main__ as dashboard
from benchmarks.dashboard.charts import CHARTS, SECTIONS, drawn
from benchmarks.dashboard.colours import KNOWN, OTHERS, OWN
from benchmarks.dashboard.page import page
from benchmarks.dashboard.ratios import headlines, histories
from benchmarks.dashboard.results import CALLS, newest, read
from benchmarks.harness.runs import run

ROOT = Path(__file__).parents[2]
ORIGIN = {"when": "2026-01-02T03:04:05+00:00", "commit": "1234567", "machine": "a machine"}
CARDS = ("#171b21", "#ffffff")
"""What pictures stand on in style.css, dark and light."""

Row = dict[str, Any]


def suite_rows(**changed: str) -> list[Row]:
    """What the quick suite saves of all scenarios but posix, with figures that are made up."""
    rows = []
    for command in suite_commands(quick=True):
        for row, scenario in planned(command):
            figures = {figure: 1000.0 / (len(row["peer"]) + 1) for figure in scenario.figures}
            ratios = {
                f"{prefix}of_{peer.replace('-', '_')}": 2.0
                for prefix in ("", *(f"{figure}_" for figure in scenario.compared))
                for peer in scenario.peers
            }
            rows.append(row | figures | ratios | ORIGIN | changed)
    return rows


@pytest.fixture(scope="module", autouse=True)
def fonts() -> None:
    """matplotlib keeps the fonts open that it has used once: here, before descriptors count."""
    page(suite_rows(), floors.load())


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with results of all kinds; those of posix and of pytest-benchmark are real."""
    folder = tmp_path_factory.mktemp("results")
    outcome = run(["posix", "--seconds", "0.01"])
    rows = [row | ORIGIN for row in outcome.rows] + suite_rows()
    (folder / "now.json").write_text(json.dumps(rows))
    earlier = suite_rows(when="2026-01-01T00:00:00+00:00", commit="7654321")
    (folder / "earlier.json").write_text(json.dumps(earlier))
    calls = folder / "calls" / "0001.json"
    calls.parent.mkdir()
    line = [sys.executable, "-m", "pytest", "benchmarks/test_publish.py", "-k", "log or deques"]
    line += ["--benchmark-only", f"--benchmark-json={calls}", "-p", "no:cacheprovider"]
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    subprocess.run(line, cwd=ROOT, env=env, check=True, capture_output=True, timeout=170)
    return folder


@pytest.fixture
def written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Writes results into a file and a page of them; the status, the page, and what it said."""

    def write(held: object) -> tuple[int, str, str]:
        path, output = tmp_path / "results.json", tmp_path / "page.html"
        path.write_text(held if isinstance(held, str) else json.dumps(held))
        status = dashboard.main([str(path), "-o", str(output)])
        return status, output.read_text(), capsys.readouterr().err

    return write


# ---- In a browser ----

SHOWN = """[...document.querySelectorAll("figure svg")].map(svg => {
    const of = element => element.getBoundingClientRect();
    const seen = element => of(element).width > 1;  // a line may be level
    return {
        label: svg.getAttribute("aria-label"),
        left: of(svg).left, right: of(svg).right, height: of(svg).height,
        series: [...svg.querySelectorAll(".series")].filter(seen).length,
        cells: svg.closest("figure").querySelectorAll("td").length,
        ink: getComputedStyle(svg.querySelector("text")).fill,
    }
})"""


@needs_browser
@pytest.mark.timeout(240)
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_browser_shows_every_chart(
    results: Path, tmp_path: Path, width: int, scheme: str
) -> None:
    output = tmp_path / "page.html"
    assert dashboard.main([str(results), "-o", str(output)]) == 0
    with chromium(tmp_path / "profile") as shown:
        shown.open(output, width=width, height=800, scheme=scheme)
        pictures = shown.value(SHOWN)
        across = shown.value("document.documentElement.scrollWidth")
        ink = shown.value("getComputedStyle(document.body).color")
        ground = shown.value("getComputedStyle(document.querySelector('figure')).backgroundColor")
        painted = imread(io.BytesIO(shown.picture("figure svg")))
        requests = [told["request"]["url"] for told in shown.told("Network.requestWillBeSent")]
        problems = shown.told(
            "Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"
        )
    rows = [row for name in ("now.json", "calls/0001.json") for row in read(results / name)]
    panels = [f"{one.chart.title}, {panel.heading}" for one in drawn(rows) for panel in one.panels]
    labels = [picture["label"] for picture in pictures]
    assert labels[: len(panels)] == panels
    assert len({label for label in labels if label.startswith("History: ")}) > 10
    for picture in pictures:
        assert picture["series"], picture
        assert picture["cells"] >= picture["series"], picture
        assert 0 <= picture["left"] < picture["right"] <= width, picture
        assert picture["height"] > 30, picture
        assert picture["ink"] == ink, picture
    assert across <= width
    assert ground == f"rgb{rgb(CARDS[scheme == 'light'])}"
    assert shows(painted, OWN[0].colour), "the first picture has nothing of fastsock's colour"
    assert requests == [output.resolve().as_uri()]
    assert problems == []


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))


def shows(picture: Any, colour: str) -> bool:
    """Whether any pixel of a picture has nearly this colour."""
    distance = abs(picture[..., :3] * 255 - rgb(colour)).max(axis=-1)
    return bool((distance < 8).any())


# ---- What it shows ----


def test_every_scenario_of_the_suite_has_charts_of_figures_that_its_rows_have() -> None:
    rows = suite_rows()
    assert {row["scenario"] for row in rows} | {"posix", "posix-memory", CALLS} == set(SECTIONS)
    for chart in CHARTS:
        if chart.scenario in {row["scenario"] for row in rows}:
            assert [one for one in drawn(rows) if one.chart is chart], chart.title
    for one in drawn(rows):
        for panel in one.panels:
            places = set(one.chart.figures) if not one.chart.across else set(panel.along)
            assert set(panel.along) == places


def test_every_ratio_has_a_headline_and_two_runs_make_a_history() -> None:
    cases = [case for case in floors.load() if case.row["scenario"] != "posix"]
    now, earlier = suite_rows(), suite_rows(when="2026-01-01T00:00:00+00:00", commit="7654321")
    elsewhere = suite_rows(machine="another machine")
    found = headlines(cases, now)
    assert len(found) == sum(len(case.ratios) for case in cases)
    assert histories(cases, [*now, *elsewhere]) == []
    past = histories(cases, [*now, *earlier, *elsewhere])
    assert [one.case for one in past] == cases
    for one in past:
        assert [row["commit"] for row in one.rows] == ["7654321", "1234567"]
        assert one.machine == "a machine"


def test_a_ratio_is_reached_or_missed_unless_the_load_set_the_pace() -> None:
    cases = [case for case in floors.load() if case.row["scenario"] == "relay"]
    rows = suite_rows()
    of_redis = next(one for one in headlines(cases, rows) if one.ratio.field == "of_redis")
    assert (of_redis.value, of_redis.ratio.aim, of_redis.reached) == (2.0, 3, False)
    bound = [row | {"sink_bound": row["peer"] == "redis"} for row in rows]
    states = {one.ratio.field: one.sink_bound for one in headlines(cases, bound)}
    assert states["of_redis"]
    assert not states["of_nats"]


def test_figures_of_a_busy_load_are_marked(written: Any) -> None:
    rows = [row for row in suite_rows() if row["scenario"] in ("ingest", "idle")]
    bound = [row | {"sink_bound": row["peer"] == "limit"} for row in rows]
    _, plain, _ = written(rows)
    _, marked, _ = written(bound)
    assert "†" not in plain
    # Every number of clients in ingest, accepting in idle, and a note below the two tables.
    limits = [row for row in bound if row["peer"] == "limit"]
    assert marked.count("†") == len(limits) + 2


def test_the_newest_run_is_drawn_not_a_mix_of_commits_and_machines() -> None:
    row = {"scenario": "echo", "peer": "fastsock", **ORIGIN}
    older = row | {"when": "2026-01-01T00:00:00+00:00", "commit": "7654321"}
    other = row | {"when": "2025-01-01T00:00:00+00:00", "machine": "another machine"}
    assert newest([older, row, other]) == [row]


def test_rows_with_faults_are_told_and_not_drawn(written: Any) -> None:
    rows = [row for row in suite_rows() if row["scenario"] == "relay"]
    rows = [row | {"lost": 7 if row["peer"] == "redis" else 0, "corrupt": 0} for row in rows]
    status, text, _ = written(rows)
    assert status == 0
    assert (
        "Left out: relay, redis: 7 lost (2026\u201101\u201102 03:04, commit 1234567, a machine)"
        in text
    )
    assert text.count("redis") == text.count("relay, redis: ")


def test_names_from_results_are_no_html(written: Any) -> None:
    rows = suite_rows(machine="<script>alert(1)</script>")
    rows = [row | {"peer": "<b>"} for row in rows if row["scenario"] == "relay"]
    _, text, _ = written(rows)
    assert "<script>" not in text
    assert "<b>" not in text


@pytest.mark.parametrize(
    "colour", sorted({look.colour for look in (*OWN, *OTHERS, *KNOWN.values())})
)
@pytest.mark.parametrize("card", CARDS)
def test_colours_are_readable_on_light_and_dark(colour: str, card: str) -> None:
    lighter, darker = sorted(map(luminance, (colour, card)), reverse=True)
    assert (lighter + 0.05) / (darker + 0.05) >= 3


def luminance(colour: str) -> float:
    """The relative luminance of WCAG 2."""
    parts = [part / 255 for part in rgb(colour)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


# ---- Bad input ----


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ("{", "is no JSON: "),
        ([], "holds no results: rows of a scenario (--json) or of pytest-benchmark are"),
        ([{"peer": "fastsock"}], "holds no results: "),
        (12, "holds no results: "),
        ({"benchmarks": [{}]}, "is no pytest-benchmark result: "),
        ([{"scenario": "relay", "peer": 3}], "row 1: its peer is 3, not a string"),
        ([{"scenario": "relay", "peer": "p", "when": None}], "row 1: its when is None, not a"),
    ],
)
def test_files_that_hold_no_results(tmp_path: Path, capsys: Any, held: Any, message: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(held if isinstance(held, str) else json.dumps(held))
    assert dashboard.main([str(path), "-o", str(tmp_path / "page.html")]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"dashboard: {path}")
    assert message in err
    assert err.count("\n") == 1


def test_no_results_and_no_such_file(tmp_path: Path, capsys: Any) -> None:
    output = str(tmp_path / "page.html")
    assert dashboard.main([str(tmp_path / "none.json"), "-o", output]) == 2
    assert "none.json: No such file or directory" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert dashboard.main([str(tmp_path / "empty"), "-o", output]) == 2
    assert "no saved results: make dashboard measures some" in capsys.readouterr().err


def test_an_output_that_cannot_be_written(capsys: Any) -> None:
    with pytest.raises(SystemExit) as ended:
        dashboard.main(["-o", "/no/such/page.html"])
    assert ended.value.code == 2
    expected = "dashboard: argument -o/--output: cannot write '/no/such/page.html': No such file"
    assert capsys.readouterr().err.startswith(expected)


def test_a_page_of_nothing_that_has_a_chart_says_when_it_was_measured() -> None:
    text = page([{"scenario": "unknown", "peer": "p", **ORIGIN}], floors.load())
    assert "Newest run: 2026\u201101\u201102 03:04, commit 1234567, a machine" in text
    assert "<figure>" not in text
