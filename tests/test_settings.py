from __future__ import annotations

from pathlib import Path

import pytest

from flor_trace import settings
from flor_trace.errors import SettingError
from flor_trace.settings import Settings, load, parse


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    for field in Settings.__match_args__:
        monkeypatch.delenv(f"FLOR_TRACE_{field.upper()}", raising=False)
    for name in ("FLOR_TRACE", "FLOR_TRACE_STRICT", "FLOR_TRACE_DRAWN_HASH_SEED", "PYTHONHASHSEED"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def project(tmp_path):
    (tmp_path / ".git").mkdir()

    def write(text):
        (tmp_path / "pyproject.toml").write_text(text)
        return tmp_path

    return write


def table(*lines):
    return "[tool.flor_trace]\n" + "\n".join(lines)


def test_without_any_settings_the_defaults_hold(tmp_path):
    assert load(tmp_path, {}) == Settings()


def test_the_command_line_comes_before_the_environment_before_the_project(project, monkeypatch):
    root = project(table('name = "file"', 'branch = "file"', 'overhead = "3%"'))
    monkeypatch.setenv("FLOR_TRACE_NAME", "env")
    monkeypatch.setenv("FLOR_TRACE_BRANCH", "env")

    found = load(root, {"name": "line"})

    assert (found.name, found.branch, found.overhead) == ("line", "env", 0.03)


def test_the_project_is_looked_for_above_and_no_further_than_the_repository(project, tmp_path):
    root = project(table('name = "outer"'))
    inside = root / "a" / "b"
    inside.mkdir(parents=True)
    assert load(inside, {}).name == "outer"

    (root / "a" / ".git").mkdir()
    assert load(inside, {}).name is None


def test_names_may_be_written_with_hyphens(project):
    assert load(project(table("auto-log = false")), {}).auto_log is False


def test_paths_of_the_project_file_are_relative_to_it(project):
    root = project(table('store = "runs"', 'probe-file = "probes.py"'))

    found = load(root / "deeper", {})

    assert (found.store, found.probe_file) == (root / "runs", root / "probes.py")


def test_a_path_may_begin_with_a_home_directory(project, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    assert load(project(table('store = "~/runs"')), {}).store == Path("/home/ada/runs")
    assert load(Path("/"), {"store": "~/other"}).store == Path("/home/ada/other")


def test_a_project_file_without_our_table_is_not_even_parsed(project):
    assert load(project("this is not toml"), {}) == Settings()


def test_a_broken_project_file_that_names_us_is_an_error(project):
    with pytest.raises(SettingError, match=r"pyproject.toml cannot be read"):
        load(project("[tool.flor_trace\nname = 1"), {})


def test_an_unknown_name_is_answered_with_a_near_one(project):
    with pytest.raises(SettingError, match=r"pyproject.toml sets 'overhed'.*did you mean overhead"):
        load(project(table("overhed = 1")), {})
    with pytest.raises(SettingError, match=r"the command line sets 'zzz'.*known: enabled"):
        load(Path("/"), {"zzz": 1})


@pytest.mark.parametrize(
    ("text", "share"), [("1%", 0.01), ("0.05", 0.05), ("0", 0.0), (0.5, 0.5), (" 2 % ", 0.02)]
)
def test_a_share_is_a_number_or_a_percentage(text, share):
    assert parse("overhead", text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["a lot", "", "-1%", "nan", "inf", "1e9", "1%%", True, None])
def test_an_impossible_share_is_explained(text):
    with pytest.raises(SettingError, match="overhead is"):
        parse("overhead", text)


@pytest.mark.parametrize(
    ("text", "truth"),
    [("1", True), ("yes", True), ("ON", True), (True, True), ("0", False), ("", False),
     ("no", False), ("False", False), (False, False), (1, True), (0, False)],
)  # fmt: skip
def test_truth_has_many_spellings(text, truth):
    assert parse("auto_log", text) is truth


@pytest.mark.parametrize("text", ["maybe", "2", 2, None])
def test_what_is_neither_true_nor_false_is_explained(text):
    with pytest.raises(SettingError, match=r"quiet is .* write 1 or 0"):
        parse("quiet", text)


@pytest.mark.parametrize(
    ("value", "names"),
    [("a,b", ("a", "b")), (" a , ,b,", ("a", "b")), (["a", "b"], ("a", "b")), ("", ())],
)
def test_lists_are_separated_by_commas(value, names):
    assert parse("log", value) == parse("include", value) == names


@pytest.mark.parametrize("value", [5, True, 1.5])
def test_what_is_no_list_of_names_is_explained(value):
    with pytest.raises(SettingError, match="log is"):
        parse("log", value)


def test_a_table_that_is_no_table_is_explained(project):
    with pytest.raises(SettingError, match="flor_trace"):
        load(project("[tool]\nflor_trace = 5"), {})


@pytest.mark.parametrize(("text", "enabled"), [("0", False), ("1", True), ("off", False)])
def test_one_variable_switches_everything_off(monkeypatch, text, enabled):
    monkeypatch.setenv("FLOR_TRACE", text)

    assert load(Path("/"), {}).enabled is enabled


def test_only_harmless_variables_are_recorded(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")

    found = settings.recorded_environment()

    assert found["OMP_NUM_THREADS"] == "2"
    assert "hunter2" not in str(found)


def test_what_git_left_in_the_environment_is_not_handed_on(monkeypatch):
    monkeypatch.setenv("GIT_DIR", "/somewhere/.git")

    assert "GIT_DIR" not in settings.clean_git_environment()
    assert "PATH" in settings.clean_git_environment()


@pytest.mark.parametrize(("text", "seed"), [(None, None), ("random", None), ("0", 0), ("77", 77)])
def test_the_hash_seed_is_the_one_python_was_started_with(monkeypatch, text, seed):
    if text is not None:
        monkeypatch.setenv("PYTHONHASHSEED", text)

    assert settings.hash_seed() == seed


@pytest.mark.parametrize("before", [None, "random"])
def test_a_drawn_hash_seed_leaves_no_trace_in_the_programs_environment(monkeypatch, before):
    monkeypatch.setattr(settings, "_drawn", None)
    if before is not None:
        monkeypatch.setenv("PYTHONHASHSEED", before)
    plain = settings.environment()

    restart = settings.environment_with_hash_seed(123)
    assert restart["PYTHONHASHSEED"] == "123"
    for name, value in restart.items():
        monkeypatch.setenv(name, value)

    assert settings.take_drawn_hash_seed() == 123
    assert settings.environment() == plain
    assert settings.take_drawn_hash_seed() is None
    assert settings.hash_seed() == 123


def test_strictness_is_only_for_tests(monkeypatch):
    assert settings.strict() is False
    monkeypatch.setenv("FLOR_TRACE_STRICT", "1")
    assert settings.strict() is True


@pytest.mark.parametrize(
    ("text", "value"),
    [("10GB", 10e9), ("1.5G", 1.5e9), ("500 MB", 500e6), ("2TiB", 2e12), ("4096", 4096),
     ("10%", 0.1), ("0.5%", 0.005)],
)  # fmt: skip
def test_disk_is_a_size_or_a_share_of_what_is_free(text, value):
    assert parse("disk", text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "much", "0", "-5GB", "0%", "100%", "120%", "10XB"])
def test_disk_that_is_neither_is_refused(text):
    with pytest.raises(SettingError, match="disk is"):
        parse("disk", text)
