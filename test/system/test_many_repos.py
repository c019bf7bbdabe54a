"""One run of backup for several repositories: the source is read once, each has a backup of its own,
and the one that fails is named."""

from conftest import DONE, FAILED, Canvasback


def configure(tmp_path, *addresses):
    config = tmp_path / "canvasback.ini"
    config.write_text("".join(f"repo = {one}\n" for one in addresses))
    return config


def reader(tmp_path, repo):
    folder = tmp_path / "reader"
    folder.mkdir(exist_ok=True)
    program = Canvasback(folder)
    program.env["CANVASBACK_REPO"] = str(repo)
    return program


def test_each_has_its_own(cb, history, tmp_path):
    repos = [tmp_path / name for name in ("a", "b", "c")]
    config = configure(tmp_path, *repos)
    path = history.place("one", tmp_path / "prod.duckdb")
    no_repo = {"CANVASBACK_REPO": None}
    done = cb("backup", path, "--config", config, env=no_repo).json
    assert len(done["places"]) == 3
    assert done["read_bytes"] < 1.5 * path.stat().st_size
    cb.run("backup", path, "--repo", repos[0])  # one has more than the others
    history.place("two", path)
    cb("backup", path, "--config", config, env=no_repo)
    for repo in repos:
        program = reader(tmp_path, repo)
        target = tmp_path / f"{repo.name}.duckdb"
        program("restore", "prod", target)
        assert history.samples.content(target) == history.content["two"]
        assert program("verify").json["damaged"] == []


def test_one_that_fails_is_named(cb, history, tmp_path):
    blocked = tmp_path / "blocked"
    blocked.write_text("not a folder")
    config = configure(tmp_path, tmp_path / "a", blocked, tmp_path / "b")
    path = history.place("three", tmp_path / "prod.duckdb")
    done = cb("backup", path, "--config", config, env={"CANVASBACK_REPO": None}, code=None)
    assert done.code == FAILED
    assert "blocked" in done.err
    places = done.json["places"]
    assert [one["label"] is not None for one in places] == [True, False, True]
    for repo in (tmp_path / "a", tmp_path / "b"):
        target = tmp_path / f"{repo.name}.duckdb"
        reader(tmp_path, repo)("restore", "prod", target)
        assert history.samples.content(target) == history.content["three"]
