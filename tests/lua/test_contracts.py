"""Every script states its contract, and keeps to the keys that it declares."""

import re
from importlib import resources

import pytest

FOLDER = resources.files("chasquimq._core") / "lua"
SCRIPTS = {path.name.removesuffix(".lua"): path.read_text("utf-8") for path in FOLDER.iterdir() if path.is_file()}
INCLUDES = {path.name.removesuffix(".lua"): path.read_text("utf-8") for path in (FOLDER / "includes").iterdir()}
# One name for two files: which of them is sent depends on the server.
VARIANTS = {
    name.removesuffix("_classic"): [name, name.replace("_classic", "_xackdel")]
    for name in INCLUDES
    if name.endswith("_classic")
}

EVERY_SCRIPT = pytest.mark.parametrize("name", sorted(SCRIPTS))
EVERY_INCLUDE = pytest.mark.parametrize("name", sorted(INCLUDES))
CALL = re.compile(
    r"redis\.p?call\(\s*'(\w+)'\s*(?:,\s*'(?:DELCONSUMER|CREATE|CONSUMERS)'\s*)?(?:,\s*([^,()]+(?:\([^)]*\))?))?"
)


def header(text):
    """The comment at the top, without its marks, and without the includes."""
    lines = []
    for line in text.splitlines()[1:]:
        if not line.startswith("--") or "@include" in line:
            break
        lines.append(line.removeprefix("--").strip())
    return lines


def included(name):
    return re.findall(r"^-- @include (\w+)$", SCRIPTS[name], re.MULTILINE)


def code(text):
    return re.sub(r"--.*", "", text)


def test_there_are_scripts():
    assert len(SCRIPTS) >= 14
    assert len(INCLUDES) >= 7


@EVERY_SCRIPT
def test_a_script_begins_with_its_engine_and_known_flags(name):
    first = SCRIPTS[name].splitlines()[0]
    assert re.fullmatch(r"#!lua( flags=allow-oom)?", first)


@EVERY_SCRIPT
def test_a_script_states_what_it_does_its_keys_arguments_answer_and_repetition(name):
    lines = header(SCRIPTS[name])
    assert re.fullmatch(r"[A-Z].*", lines[0])
    starts = [re.match(r"(KEYS:|ARGV:|Returns:|Sent twice\b)", line) for line in lines]
    stated = [match[1] for match in starts if match]
    assert stated == ["KEYS:", "ARGV:", "Returns:", "Sent twice"]
    assert not re.match(r"(KEYS|ARGV|Returns|Sent)", lines[0])


@EVERY_SCRIPT
def test_the_keys_that_are_stated_are_the_keys_that_are_used(name):
    (line,) = [line for line in header(SCRIPTS[name]) if line.startswith("KEYS:")]
    stated = line.removeprefix("KEYS:").strip().removesuffix(".").split(", ")
    used = {int(number) for number in re.findall(r"KEYS\[(\d+)\]", code(SCRIPTS[name]))}
    fixed = [key for key in stated if not key.startswith("then one ")]
    assert used == set(range(1, len(fixed) + 1))


@EVERY_SCRIPT
def test_what_is_included_exists_and_is_used(name):
    for part in included(name):
        for variant in VARIANTS.get(part, [part]):
            assert f"local function {part}(" in INCLUDES[variant]
        assert re.search(rf"\b{part}\(", code(SCRIPTS[name])), f"{part} is included and not used"
    used = {part for part in [*INCLUDES, *VARIANTS] if re.search(rf"\b{part}\(", code(SCRIPTS[name]))}
    assert used == set(included(name))


def test_every_include_is_included_somewhere():
    everywhere = {part for name in SCRIPTS for part in included(name)}
    assert {variant for part in everywhere for variant in VARIANTS.get(part, [part])} == set(INCLUDES)


@EVERY_INCLUDE
def test_an_include_says_what_it_is_for_and_defines_one_local_function(name):
    text = INCLUDES[name]
    assert re.match(r"-- [A-Z]", text)
    (function,) = re.findall(r"^local function (\w+)\(", text, re.MULTILINE)
    assert name in VARIANTS.get(function, [function])
    assert len(re.findall(r"^\S", code(text), re.MULTILINE)) == 2, "only the function and its end stand at the margin"


@EVERY_SCRIPT
def test_a_script_touches_declared_keys_only(name):
    # A key that is made inside a script cannot be routed by a Cluster, nor checked by an ACL.
    for command, key in CALL.findall(code(SCRIPTS[name])):
        assert command == "TIME" or re.fullmatch(r"KEYS\[.+\]", key.strip()), f"{command} {key}"


@EVERY_INCLUDE
def test_an_include_touches_the_keys_that_it_is_given(name):
    text = code(INCLUDES[name])
    (parameters,) = re.findall(r"local function \w+\(([^)]*)\)", text)
    for command, key in CALL.findall(text):
        assert command == "TIME" or key.strip() in parameters.split(", ")[:3], f"{command} {key}"
    assert "KEYS" not in text
    assert "ARGV" not in text


@EVERY_SCRIPT
def test_the_keys_of_commands_put_together_are_declared_too(name):
    text = code(SCRIPTS[name])
    for variable in re.findall(r"redis\.p?call\(unpack\((\w+)\)\)", text):
        assert re.search(rf"local {variable} = {{'\w+', KEYS\[\d+\],", text)


@EVERY_SCRIPT
def test_only_the_servers_clock_and_no_chance_decide(name):
    text = code(SCRIPTS[name])
    assert not re.search(r"\bos\.|math\.random|redis\.setresp|redis\.replicate", text)


ADDS = {
    "add_delayed",
    "add_delayed_unique",
    "add_jobs",
    "add_unique",
    "fire_repeatable",
    "replay_dead_letters",
    "upsert_repeatable",
}
"""What makes the server's memory grow. Everything else must work on a full server, which could not be drained else."""


@EVERY_SCRIPT
def test_a_full_server_refuses_what_adds_and_nothing_else(name):
    assert ("allow-oom" in SCRIPTS[name].splitlines()[0]) is (name not in ADDS)
