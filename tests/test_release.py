"""What a release needs: bounds that are tested, and files that agree with each other."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

import fpsolve

ROOT = Path(__file__).parents[1]
_BOUND = re.compile(r"^([\w.-]+)>=([\d.]+)$")


def bounds() -> dict[str, dict[str, str]]:
    """Group of requirements in setup.cfg, "" for those of everybody -> name -> lowest version."""
    config = configparser.ConfigParser(interpolation=None)
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    groups = {"": config["options"]["install_requires"], **config["options.extras_require"]}
    return {
        group: dict(m.groups() for line in text.split() if (m := _BOUND.match(line)))
        for group, text in groups.items()
    }


def lowest() -> dict[str, str]:
    """Name -> the version that .ci/run installs to test lower bounds."""
    lines = (ROOT / ".ci" / "lowest.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def padded(version: str) -> tuple[int, ...]:
    parts = [int(part) for part in version.split(".")]
    return (*parts, *[0] * (3 - len(parts)))


def test_every_dependency_has_one_lowest_version() -> None:
    told: dict[str, str] = {}
    for group, names in bounds().items():
        for name, version in names.items():
            assert told.setdefault(name, version) == version, f"{name} in {group}"


@pytest.mark.parametrize("group", ["", "xarray", "zarr", "dask", "slurm"])
def test_lowest_versions_are_those_that_are_tested(group: str) -> None:
    pinned = lowest()
    assert bounds()[group]
    for name, version in bounds()[group].items():
        assert padded(pinned[name]) == padded(version), name


def test_nothing_else_is_pinned() -> None:
    """A pin of what a dependency needs would hide that a user's install lacks it."""
    assert lowest().keys() <= {name for names in bounds().values() for name in names}


def test_the_citation_is_of_this_version() -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.*)$", text, re.MULTILINE)[1] == fpsolve.__version__
    for key in ("cff-version", "message", "title", "authors", "license"):
        assert re.search(rf"^{key}: ?", text, re.MULTILINE), key


def test_the_changes_are_of_this_version_or_to_come() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    heads = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert heads[0] == "Unreleased" or heads[0].startswith(fpsolve.__version__)


def test_the_papers_references_are_those_it_cites() -> None:
    cited = set(re.findall(r"@(\w+)", (ROOT / "paper.md").read_text(encoding="utf-8")))
    given = re.findall(r"^@\w+\{(\w+),", (ROOT / "paper.bib").read_text(encoding="utf-8"), re.M)
    assert sorted(cited) == sorted(given)


def test_the_paper_has_the_sections_of_its_journal() -> None:
    text = (ROOT / "paper.md").read_text(encoding="utf-8")
    assert re.findall(r"^# (.*)$", text, re.MULTILINE) == [
        "Summary", "Statement of need", "State of the field", "Software design",
        "Research impact statement", "Acknowledgements", "References",
    ]  # fmt: skip
    body = text.split("---", 2)[2]
    assert 750 <= len(body.split()) <= 1750, "what the journal takes"
