"""The documentation site: what its pages take from the code is all that there is, and each page can be reached."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import yaml

import offcam
from offcam.sync import sinks
from offcam_proto import variables
from offcam_runs.sync.process import OBJECTS
from offcamd.config.settings import SPECS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "client" / "docs"
PAGES = sorted((DOCS / "pages").rglob("*.md"))

sys.path.insert(0, str(DOCS))
import assemble  # noqa: E402 - two scripts beside the pages, and what makes one of them
import reference  # noqa: E402

sys.path[0] = str(ROOT / "tests" / "integrations")
import tried_versions  # noqa: E402

del sys.path[0]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The pages as they are built, by their place."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assemble, "SITE", tmp_path_factory.mktemp("site"))
        assemble.main()
        place = assemble.SITE / "pages"
        return {str(path.relative_to(place)): path.read_text("utf-8") for path in place.rglob("*.md")}


def test_each_page_is_in_the_navigation_once(site):
    nav = yaml.safe_load((DOCS / "mkdocs.yml").read_text("utf-8"))["nav"]
    named = re.findall(r"[\w/.-]+\.md", str(nav))
    assert sorted(named) == sorted(site)


def test_each_picture_is_there_and_shown():
    shown = [
        (page.parent / target).resolve()
        for page in PAGES
        for target in re.findall(r"!\[[^]]*\]\(([^)#]+)", page.read_text("utf-8"))
    ]
    assert sorted(shown) == sorted((DOCS / "pages" / "images").iterdir())


def test_pages_ask_for_nothing_that_is_not_made(site):
    assert [place for place, text in site.items() if "from the code:" in text] == []
    asked = [words for page in PAGES for words in re.findall(r"<!-- from the code: (\S+)", page.read_text("utf-8"))]
    assert set(asked) == set(reference.MADE)


def test_the_command_line_has_each_verb_and_each_option(site):
    text = site["reference/command-line.md"]
    verbs = list(reference.every_verb())
    assert len(verbs) > 15
    for words, command in verbs:
        section = text.partition(f"\n## {' '.join(words)}\n")[2].partition("\n## ")[0]
        options = [name for param in command.params if not getattr(param, "hidden", False) for name in param.opts]
        assert [name for name in options if name.startswith("-") and f"{name}" not in section] == [], words
        assert " ".join(words) in section


def commands(text):
    """The command lines of offcam's in a page: in its shell blocks and in its sentences."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()] + re.findall(r"`([^`\n]+)`", text)
    return [line.partition("  #")[0] for line in lines if re.match(r"offcam [a-z]", line)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages_name_only_verbs_and_options_that_exist(page):
    options = {
        " ".join(words): {name for param in command.params for name in param.opts}
        for words, command in reference.every_verb()
    }
    for line in commands(page.read_text("utf-8")):
        (verb,) = [words for words in options if re.match(rf"{words}\b", line)] or [""]
        assert verb, line
        used = set(re.findall(r"(?<= )--?[a-z][a-z-]*", line)) - {"-h"}
        assert used <= options[verb], line


def test_settings_and_variables_are_all_there(site):
    text = site["reference/settings.md"]
    for spec in SPECS:
        assert f"| `{spec.key}` | `{spec.flag}` | `{spec.variable}` |" in text
    assert [name for name in sorted(variables.KNOWN) if f"`{name}" not in text] == []


def test_each_error_has_its_section_and_says_what_to_do(site):
    sections = re.findall(r"^## (\w+)\n\n(.+)\n\n(.+)$", site["reference/errors.md"], re.MULTILINE)
    assert [name for name, _, _ in sections] == [kind.__name__ for kind in reference.every_error()]


def test_metrics_are_those_that_alerts_and_dashboard_use(site):
    used = set(re.findall(r"offcam_\w+", (ROOT / "deploy" / "alerts.yml").read_text("utf-8")))
    used |= set(re.findall(r"offcam_\w+", (ROOT / "deploy" / "grafana-dashboard.json").read_text("utf-8")))
    shown = set(re.findall(r"^\| `(\w+)` \|", site["reference/metrics.md"], re.MULTILINE))
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in used} <= shown


@pytest.mark.parametrize(
    "module", [offcam, offcam.vector, offcam.keep, offcam.replay], ids=lambda module: module.__name__
)
def test_the_reference_has_each_public_name(site, module):
    text = site[f"reference/{module.__name__.rpartition('.')[2]}.md"] + site["reference/errors.md"]
    public = [name for name in module.__all__ if name not in ("__version__", "keep", "replay", "vector")]
    if module in (offcam, offcam.vector):
        assert all(f'"{name}"' in text for name in ("last_video", "wait_video", "save_clip", "run_folder"))
    assert [name for name in public if f'toc_label: "{name}"' not in text and f"## {name}\n" not in text] == []


def test_the_reference_has_each_adapter_and_each_tracker(site):
    folder = ROOT / "client/offcam/integrations"
    sources = {path: path.read_text("utf-8") for path in (*folder.glob("*.py"), *folder.glob("*/__init__.py"))}
    adapters = {
        path.stem.replace("__init__", path.parent.name) for path, text in sources.items() if "\nwith needs(" in text
    }
    assert len(adapters) > 5
    heads = re.findall(r"^## offcam\.integrations\.(\w+)\n\n::: offcam\.", site["reference/adapters.md"], re.MULTILINE)
    assert set(heads) == adapters
    named = {name for name, package in sinks.PACKAGES.items() if package and name != OBJECTS}
    assert set(re.findall(r"^\| `(\w+)` \|", site["reference/trackers.md"], re.MULTILINE)) == named


# --- versions -------------------------------------------------------------------------------------------------------


def test_each_package_that_has_tests_is_among_the_versions_that_were_tried():
    found = {path.stem for path in (ROOT / "tests/integrations").glob("test_*.py")}
    assert set(tried_versions.PACKAGES) == found - {"test_site_pages_with_packages"}
    assert set(tried_versions.rows_of(tried_versions.PAGE.read_text("utf-8"))) == set(tried_versions.PACKAGES.values())


def test_what_was_tried_is_renewed_and_the_rest_stays(monkeypatch):
    page = f"# Head\n\n{tried_versions.HEAD}| `ray` | 2.60.0 | 3.11 | 4 |\n| `pytest` | 8 | 3.9 | 1 |\n\nFoot.\n"
    rows = tried_versions.rows_of(page)
    monkeypatch.setattr(tried_versions, "PACKAGES", {"test_a": "pytest", "test_b": "pytest"})
    found = tried_versions.renewed(rows, {"test_a": 3, "test_b": 2, "test_other": 5})
    python = ".".join(map(str, sys.version_info[:2]))
    assert found == {"pytest": (pytest.__version__, python, "5"), "ray": ("2.60.0", "3.11", "4")}
    assert tried_versions.renewed(rows, {"test_a": 3, "test_b": 2}, {"test_b"}) == rows
    again = tried_versions.page_with(page, found)
    assert tried_versions.rows_of(again) == found
    assert (again.startswith("# Head\n\n| Package"), again.endswith("| 4 |\n\nFoot.\n")) == (True, True)
