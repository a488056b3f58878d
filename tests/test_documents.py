"""What the documents say is there: files, chapters, tests, commands, rules, settings and lines of logs."""

import re
import shlex
from pathlib import Path

import click
import pytest

from client_app.cli import commands as site_commands
from client_app.custodian.policy import Policy
from server_app.coordinator import commands as coordinator_commands

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for path in (
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("*/README.md"),
        *ROOT.glob("tasks/*/*.md"),
    )
    if "node_modules" not in path.parts
)
PROGRAMS = {"wardround-site": site_commands, "wardround-coordinator": coordinator_commands}
TESTS = "\n".join(path.read_text() for path in ROOT.glob("tests/**/*.py"))


def named(path):
    return str(path.relative_to(ROOT))


def text_of(page):
    """Without what stands between fences."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def fenced(page):
    """The lines of commands; one that goes on is one."""
    blocks = re.findall(r"^```\w*\n(.*?)^```$", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]


def anchors(page):
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", text_of(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page):
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text_of(page)) if "://" not in link]


def dangling(page):
    found = []
    for link in links(page):
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            found.append(link)
    return found


def first_cells(page, chapter):
    """What stands in backticks in the first column of the tables of a chapter."""
    part = page.read_text().partition(f"\n## {chapter}\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (.*?) \|", part, flags=re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def calls(page):
    """(program, words) of each command of ours that a page has, in fences or as ``code``."""
    inline = [code for code in re.findall(r"`([^`\n]+)`", text_of(page)) if " " in code]
    for line in (*fenced(page), *inline):
        for start in re.finditer(r"(?:^|(?<!-n)[\s/=])(wardround-(?:site|coordinator)|\./run)(?= )", line):
            words = shlex.split(line[start.end() :].partition(" #")[0].replace("'", ""), comments=True)
            program = start[1]
            if program == "./run":
                program = (
                    "wardround-coordinator" if words[0] in coordinator_commands.commands else "wardround-site"
                )
            yield program, words


def misnamed(program, words):
    """What of a command line the program does not know; empty if it knows all."""
    command, rest = PROGRAMS[program], list(words)
    while isinstance(command, click.Group) and rest and rest[0] in command.commands:
        command = command.commands[rest.pop(0)]
    if isinstance(command, click.Group) and rest and re.fullmatch(r"[a-z]+", rest[0]):
        return [rest[0]]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    return [word for word in rest if word.startswith("--") and word not in {*known, "--help"}]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_leads_somewhere(page):
    assert dangling(page) == []


def test_a_link_to_nowhere_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One thing, or two\n[a](page.md#one-thing-or-two) [b](#three) [c](no.md)\n")
    assert dangling(page) == ["#three", "no.md"]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_command_of_ours_is_one_with_its_options(page):
    wrong = {
        f"{program} {' '.join(words)}": bad
        for program, words in calls(page)
        if (bad := misnamed(program, words))
    }
    assert wrong == {}


def test_a_command_that_is_none_is_found():
    assert misnamed("wardround-site", ["study", "inbox", "--config", "x"]) == []
    assert misnamed("wardround-site", ["study", "inbox", "--conf", "x"]) == ["--conf"]
    assert misnamed("wardround-site", ["study", "aprove", "x"]) == ["aprove"]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_test_that_is_named_exists(page):
    code = re.findall(r"`([^`\n]+)`", text_of(page))
    homes = (
        ROOT,
        *(
            ROOT / "tests" / part
            for part in ("client_app", "deployment", "federation", "federation/secure_sum")
        ),
    )
    files = {name for name in code if re.fullmatch(r"[\w/]*test_\w+\.py", name)}
    assert {name for name in files if not any((home / name).exists() for home in homes)} == set()
    functions = {name for name in code if re.fullmatch(r"test_\w+|Test[A-Z]\w+", name)}
    assert {name for name in functions if not re.search(rf"(def|class) {name}\b", TESTS)} == set()


def rules():
    """Of all refusals of a hospital, as the code names them."""
    found = set()
    for path in (*ROOT.glob("client_app/**/*.py"), *ROOT.glob("federation/**/*.py")):
        for kind, rule in re.findall(
            r'\b(RefusedError|Rule|SecureSumError)\(\s*(?:#[^\n]*\s*)*"([a-z-]+)"', path.read_text()
        ):
            found.add((kind == "SecureSumError", rule))
    return found


def test_every_rule_of_a_refusal_is_explained_and_no_other():
    told = first_cells(ROOT / "docs/data-custodian.md", "What a refusal means")
    known = {rule for _, rule in rules()}
    errors = {name for name in told if re.search("[A-Z]", name)} | {
        "failed by",
        "unexpected-…",
        "not-found",
        "secure-sum-…",
    }
    assert {"not-approved", "one-set", "cohort-too-small", "held-out-too-few", "busy"} <= known
    assert set(told) - errors == known
    assert len(told) == len(set(told))


def test_every_line_of_the_policy_is_explained():
    told = first_cells(ROOT / "docs/data-custodian.md", "The policy, line by line")
    assert told[0] == "policy."
    assert set(told[1:]) == set(Policy.model_fields)


@pytest.mark.parametrize(
    ("page", "chapter"),
    [("docs/hospital-it.md", "What to watch"), ("docs/coordinator.md", "Logs, and what to watch")],
)
def test_every_line_to_watch_for_is_written_by_something(page, chapter):
    part = (ROOT / page).read_text().partition(f"\n## {chapter}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (?:custodian|launcher|gateway|supernode) \| (.*?) \|", part, flags=re.MULTILINE)
    watched = [words for row in rows for words in re.findall(r"`([^`]+)`", row)]
    code = "\n".join(
        path.read_text()
        for folder in ("client_app", "federation", "server_app")
        for path in ROOT.glob(f"{folder}/**/*.py")
    )
    rule = re.compile(r"(refused|failed) by ")
    assert len(watched) > 3
    for words in watched:
        assert rule.sub("", words) in code or words in {"ERROR", "CRITICAL"}, words


@pytest.mark.parametrize("side", ["site", "coordinator"])
def test_every_setting_of_the_containers_is_in_the_example(side):
    folder = ROOT / "docker" / side
    used = {
        name
        for path in (*folder.glob("compose*.yaml"), folder / "run")
        for name in re.findall(r"\$\{?(WARDROUND_[A-Z_]+)", path.read_text())
    }
    example = re.findall(r"^(WARDROUND_[A-Z_]+)=", (folder / "example.env").read_text(), flags=re.MULTILINE)
    assert "WARDROUND_LOG" in used
    assert used == set(example)
