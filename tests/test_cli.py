"""Exit codes and the one line on stderr: 0 done, 2 the user's mistake, 130 stopped by the person."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from attlas.cli.app import app

COMMANDS = [str(command.name or (command.callback.__name__ if command.callback else "")) for command in app.registered_commands]
# What a person types, and what the one line says; {csv} is a table, {run} a finished run, {new} a folder that is not there.
MISTAKES = {
    "a file that is not there": (
        "fit --data {csv}x --model ease",
        r"there is no file .*ratings\.csvx; did you mean 'ratings\.csv'",
    ),
    "an empty file": ("fit --data {empty} --model ease", r"empty\.csv"),
    "a table with its head only": ("fit --data {head} --model ease", r"head\.csv"),
    "a folder instead of a file": (
        "fit --data {folder} --model ease",
        r"is a folder; expected a file; it holds .*ratings\.csv",
    ),
    "an items file that is not there": ("fit --data {csv} --items films.cvs --model ease", "there is no file films.cvs"),
    "an unknown column": ("fit --data {csv} --user member --model ease", r"has no column 'member' for the user; .*'user'"),
    "a rule for repeats that there is not": ("fit --data {csv} --model ease --repeat mean", "repeat='mean' is not known"),
    "a condition on no column": (
        "fit --data {csv} --model ease --positive raiting>3",
        r"no column 'raiting' for positive; did you mean 'rating'\?",
    ),
    "a first date that is none": ("fit --data {csv} --model ease --since monday", "since='monday' is no moment"),
    "a core that is empty": ("fit --data {csv} --model ease --min-user 99999", "users with fewer than 99999 items"),
    "a word for returns that there is not": ("fit --data {csv} --model ease --returns keep", "returns='keep' is not known"),
    "an unknown model": ("fit --data {csv} --model dlef", r"no model is called 'dlef'; did you mean 'delf'\?"),
    "no model": ("fit --data {csv}", "no model was named; give --model NAME"),
    "no data": ("fit --model ease", r"nothing to learn from; give --data ratings\.csv"),
    "an unknown split": ("fit --data {csv} --model ease --split last", "there is no split 'last'"),
    "an unknown protocol": ("fit --data {csv} --model ease --protocol fulll", r"no protocol 'fulll'; did you mean 'full'\?"),
    "an unknown table in TOML": ("fit {toml:[modle]}", r"no table is called \[modle\]; did you mean 'model'\?"),
    "an unknown key in TOML": ("fit {toml:[training]epoch=3}", r"\[training\] has no setting 'epoch'; did you mean 'epochs'\?"),
    "a key without its table in TOML": ("fit {toml:epochs=3}", "no table is called .epochs."),
    "no TOML": ("fit {csv}", r"ratings\.csv is no TOML: "),
    "a TOML file that is not there": ("fit no.toml", r"cannot read no\.toml: No such file"),
    "an unknown setting": (
        "fit --data {csv} --model delf --set model.embeding_dim=8",
        r"\[model\] has no setting 'embeding_dim'; did you mean 'embedding_dim'\?",
    ),
    "a setting that does not fit": ("fit --data {csv} --model ease --set model.l2=lots", r"\[model\] l2 = 'lots' does not fit"),
    "a setting in no table": ("fit --data {csv} --model ease --set l2=3", r"write TABLE\.KEY=VALUE"),
    "no size of memory": ("fit --data {csv} --model ease --memory lots", "'lots' is no size of memory"),
    "an impossible number of epochs": ("fit --data {csv} --model delf --epochs 0", r"\[training\] epochs = 0 does not fit"),
    "epochs in words": ("fit --data {csv} --model delf --epochs many", r"--epochs.*; see .*attlas fit --help"),
    "a folder in use": ("fit --data {csv} --model ease --out {run}", "is not empty; choose another --out, or delete it"),
    "resume with settings": ("fit --resume {run} --epochs 3", "--resume takes the settings noted in the run; only --data goes"),
    "resume where nothing began": (
        "fit --resume {new}",
        "holds no fit to resume; begin one with: attlas fit --data FILE --out",
    ),
    "an unknown user": (
        "recommend {run} m17 nobody",
        r"user 'nobody' is not among the 80 known users; .* --history; .* --unknown popular",
    ),
    "an unknown item in a history": ("recommend {run} --history f1,zz", "item 'zz' is not among the 40 known items"),
    "an unknown candidate": ("recommend {run} m17 --candidates zz", "item 'zz' is not among the 40 known items"),
    "no candidate at all": ("recommend {run} m17 --candidates ,", "--candidates names no item; expected item ids, separated"),
    "an unknown item": ("similar {run} zz", "item 'zz' is not among the 40 known items"),
    "an item where a user stands": ("explain {run} f4 f10", "user 'f4' is not among"),
    "an item alone": ("explain {run} f4", r"got 'f4'; expected USER ITEM, or ITEM with the --history"),
    "a user and a history": ("explain {run} m17 f4 --history f1", "got 'm17 f4'; expected USER ITEM"),
    "nobody to answer": ("recommend {run}", "name users, or --all-users, or the --history of a stranger: exactly one of them"),
    "users and everybody": ("recommend {run} m17 --all-users --out r.csv", "exactly one of them"),
    "everybody on a terminal": ("recommend {run} --all-users", r"--all-users wants a file: --out recs\.parquet"),
    "a stranger in a file": ("recommend {run} --history f4 --out r.csv", "no --out, --candidates or --unknown"),
    "unknown users beside a stranger": (
        "recommend {run} --history f4 --unknown popular",
        "no --out, --candidates or --unknown",
    ),
    "another ending": ("recommend {run} m17 --out recs.xlsx", r"recs\.xlsx has no known ending; expected one of \.parquet"),
    "another answer to unknown users": ("recommend {run} m17 --unknown skip", "unknown='skip'; expected 'error' or 'popular'"),
    "no items at all": (
        "recommend {run} m17 -k 0",
        r"'-k'.*(greater than or equal to 1|in the range x>=1); see .*attlas recommend --help",
    ),
    "k in words": ("similar {run} f4 -k ten", r"'-k'.*integer.*; see .*attlas similar --help"),
    "another way to explain": ("explain {run} m17 f4 --method shapley", "method='shapley'; expected 'counterfactual'"),
    "faithfulness of one reason": ("explain {run} --faithfulness --method counterfactual", "leave --method out"),
    "a plot of faithfulness": ("explain {run} --faithfulness --plot f.html", "leave --plot out"),
    "a top of faithfulness": ("explain {run} --faithfulness --top 3", "leave --top out"),
    "a draw for one reason": ("explain {run} m17 f4 --users 5", "--out, --users and --seed belong to --faithfulness"),
    "a seed for one reason": ("explain {run} m17 f4 --seed 3", "--out, --users and --seed belong to --faithfulness"),
    "features of faithfulness": ("explain {run} --faithfulness --feature age=3", "leave --feature out"),
    "features of a run without them": ("explain {run} f4 --feature age=3", "knows no features of users; give a history alone"),
    "a user and features": ("explain {run} m17 f4 --feature age=3", "got 'm17 f4'; expected USER ITEM"),
    "a file for one reason": (
        "explain {run} m17 f4 --out r.json",
        "belong to --faithfulness; one explanation is kept by --json",
    ),
    "no reasons at all": ("explain {run} m17 f4 --top 0", r"'--top'.*(greater than or equal to 1|in the range x>=1)"),
    "a cut-off of 0": ("evaluate {run} -k 0", "k is 0; expected whole numbers of at least 1"),
    "candidates that were not given": ("evaluate {run} --protocol ncf", "protocol 'ncf' ranks against given candidates"),
    "other data than the run's": ("evaluate {run} --data {other}", "the training data are not those that .* was trained on"),
    "a run that is not there": ("recommend {new} m17", r"is no run folder; expected run\.json in it"),
    "a file instead of a run": ("recommend {csv} m17", r"is no run folder; expected run\.json in it"),
    "a damaged run": ("recommend {damaged} m17", r"weights\.safetensors has .* bytes instead of .*truncated or altered"),
    "an altered card": ("recommend {altered} m17", r"run\.json was altered after it was written"),
    "an unfinished run": ("recommend {begun} m17", "has not finished; go on with: attlas fit --resume"),
    "a model that is not there": ("models eas", r"no model is called 'eas'; did you mean 'ease'\?"),
    "an unknown public set": ("data fetch ml-1mm --to {new}", "no data set is called 'ml-1mm'; did you mean 'ml-1m'?"),
    "a description of nothing": ("data describe {csv}x", r"there is no file .*ratings\.csvx; did you mean 'ratings\.csv'"),
    "a registry that is not there": ("data list --registry no.toml", r"cannot read the registry no\.toml: .*expected TOML"),
    "an unknown command": ("recomend {run}", r"No such command 'recomend'.*'recommend'.*; see .*attlas --help"),
    "an unknown option": ("fit --dta {csv}", r"No such option.*--dta.*; see .*attlas fit --help"),
    "a missing argument": ("similar", r"Missing argument .*; see .*attlas similar --help"),
}
# Mistakes that show only once the table has been read: what was read is told before the one line.
LATE_MISTAKES = {
    "too little memory": (
        "fit --data {csv} --model ease --memory 10kB --out {new}",
        r"EASE on 80 users and 40 items needs 0\.0192 MB .*more than the 0\.01 MB that it was given; give it more",
    ),
    "cuda where there is none": (
        "fit --data {csv} --model ease --device cuda --out {new}",
        "'cuda' is not there.*--device cpu",
    ),
    "an unknown device": ("fit --data {csv} --model ease --device tpu --out {new}", "device 'tpu' is not known"),
    "an unknown setting of the solver": (
        "fit --data {csv} --model delf --set solver.lerning_rate=1 --out {new}",
        r"\[solver\] has no setting 'lerning_rate'; did you mean 'learning_rate'\?",
    ),
    "a learning rate in words": (
        "fit --data {csv} --model delf --set solver.learning_rate=fast --out {new}",
        r"\[solver\] learning_rate = 'fast' does not fit",
    ),
    "candidates for a table without them": (
        "fit --data {csv} --model ease --protocol ncf --out {new}",
        "protocol 'ncf' ranks against given candidates, and this split came without them",
    ),
}


@pytest.fixture(scope="module")
def places(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files and folders that mistakes are made with."""
    folder = tmp_path_factory.mktemp("mistakes")
    rows = (runs / "ratings.csv").read_text().splitlines(keepends=True)
    (folder / "empty.csv").touch()
    (folder / "head.csv").write_text(rows[0])
    (folder / "other.csv").write_text("".join(rows[:-1]))
    for name in ("damaged", "altered", "begun"):
        shutil.copytree(runs / "delf", folder / name)
    (folder / "damaged/weights.safetensors").write_bytes((runs / "delf/weights.safetensors").read_bytes()[:-1])
    (folder / "altered/run.json").write_text((runs / "delf/run.json").read_text().replace('"seed": 1', '"seed": 2'))
    (folder / "begun/run.json").unlink()
    named = {name: folder / name for name in ("damaged", "altered", "begun", "new")}
    files = {name: folder / f"{name}.csv" for name in ("empty", "head", "other")}
    return {"csv": runs / "ratings.csv", "folder": runs, "run": runs / "delf", **named, **files}


def words_of(line: str, places: dict[str, Path], tmp_path: Path) -> list[str]:
    """The words of a line of ``MISTAKES``."""
    toml = re.search(r"\{toml:(.*?)\}", line)
    if toml:
        (tmp_path / "settings.toml").write_text(toml[1].replace("]", "]\n") + "\n")
        line = line.replace(toml[0], str(tmp_path / "settings.toml"))
    return [word.format(**places) for word in line.split()]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_one_line_on_stderr_and_code_2_answer(mistake: str, places: dict[str, Path], command: Callable, tmp_path: Path) -> None:
    line, pattern = MISTAKES[mistake]
    said = command(*words_of(line, places, tmp_path))
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1), said
    assert said.err.startswith("attlas: ")
    assert re.search(pattern, said.err), said.err
    assert not places["new"].exists()


@pytest.mark.parametrize("mistake", LATE_MISTAKES)
def test_after_reading_the_table_one_line_and_code_2_answer(
    mistake: str, places: dict[str, Path], command: Callable, tmp_path: Path
) -> None:
    line, pattern = LATE_MISTAKES[mistake]
    if mistake.startswith("cuda"):
        torch = pytest.importorskip("torch")
        if torch.cuda.is_available():
            pytest.skip("this machine has CUDA")
    said = command(*words_of(line, places, tmp_path))
    *told, last = said.err.splitlines()
    assert (said.code, said.out, len(told)) == (2, "", 3), said
    assert re.search(f"^attlas: .*{pattern}", last), said.err
    assert not places["new"].exists(), "a fit that cannot be done leaves no folder that is in its way"


def test_a_mistake_in_a_process_of_its_own_is_one_line_without_a_traceback(process: Callable) -> None:
    said = process("fit", "--dta", "ratings.csv")
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert re.match("attlas: No such option:? .?--dta", said.err)


def test_a_command_that_a_message_names_can_be_typed_as_it_stands(
    places: dict[str, Path], tmp_path: Path, command: Callable
) -> None:
    begun = shutil.copytree(places["begun"], tmp_path / "my run")
    said = command("fit", "--data", places["csv"], "--model", "ease", "--out", begun)
    assert said.code == 2
    assert f"go on with: attlas fit --resume '{begun}', or delete it" in said.err


def test_no_words_at_all_show_the_help(command: Callable) -> None:
    said = command()
    assert (said.code, said.err) == (0, "")
    assert all(name in said.out for name in COMMANDS)


def test_the_version_is_said_and_the_help_begins_as_it_did(command: Callable) -> None:
    said = command("--version")
    assert (said.code, said.err) == (0, "")
    assert re.fullmatch(r"attlas \d+\.\d+\.\d+\n", said.out)
    assert "Recommendation with attentive latent factor models" in " ".join(command("--help").out.split())
    assert command("--version", "fit").out == said.out


def test_a_group_without_its_command_shows_its_help(command: Callable) -> None:
    said = command("data")
    assert (said.code, said.err) == (0, "")
    assert all(name in said.out for name in ("list", "fetch", "describe"))


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_an_example_of(name: str, command: Callable) -> None:
    said = command(name, "--help")
    assert (said.code, said.err) == (0, "")
    assert re.search(rf"Examples?:\s+attlas {name}", said.out)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_in_the_help_parses_of(name: str) -> None:
    group: Any = typer.main.get_command(app)
    examples = re.findall(r"\[bold\]attlas (.*?)\[/bold\]", group.commands[name].help)
    assert [example.split()[0] for example in examples] == [name] * len(examples) != []
    for example in examples:
        chosen, *words = example.split()
        assert group.commands[chosen].make_context(chosen, words).args == []


def test_a_finished_run_that_is_resumed_says_so_and_answers_with_its_card(runs: Path, command: Callable) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in (runs / "delf").iterdir()}
    said = command("fit", "--resume", runs / "delf", "--json")
    assert (said.code, said.json["model"]["name"]) == (0, "delf")
    assert said.err == f"{runs / 'delf'} is finished; there is nothing left to do\n"
    assert {path.name: path.stat().st_mtime_ns for path in (runs / "delf").iterdir()} == before


def test_after_a_mistake_was_mended_the_same_folder_serves(club_files: Path, tmp_path: Path, command: Callable) -> None:
    words = ["fit", "--data", club_files / "ratings.csv", "--model", "ease", "--out", tmp_path / "run"]
    assert command(*words, "--set", "solver.name=closd-form").code == 2
    assert command(*words, "--set", "solver.name=closed-form").code == 0


def test_an_unrelated_folder_is_refused_without_the_advice_to_resume_it(
    club_files: Path, tmp_path: Path, command: Callable
) -> None:
    (tmp_path / "letter.txt").touch()
    said = command("fit", "--data", club_files / "ratings.csv", "--model", "ease", "--out", tmp_path)
    assert said.code == 2
    assert said.err.endswith("is not empty; choose another --out, or delete it\n")


def test_ctrl_c_keeps_the_checkpoint_and_the_command_that_it_prints_works(club_files: Path, tmp_path: Path) -> None:
    settings = ["model.embedding_dim=8", "model.attention_dim=8", "model.layers=[8]", "training.patience=100000"]
    words = ["--data", str(club_files / "ratings.csv"), "--model", "delf", "--epochs", "100000", "--out", "run"]
    command = [sys.executable, "-m", "attlas", "fit", *words, *(f"--set={setting}" for setting in settings)]
    fit = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: (tmp_path / "run/fit.checkpoint").exists() or fit.poll() is not None)
    fit.send_signal(signal.SIGINT)
    out, err = fit.communicate(timeout=60)
    assert (fit.returncode, out) == (130, "")
    last = err.splitlines()[-1]
    assert last == "attlas: stopped; finished epochs are kept; go on with: attlas fit --resume run"
    assert "Traceback" not in err

    first = len((tmp_path / "run/metrics.jsonl").read_text().splitlines())
    words = last.partition("attlas fit ")[2].split()
    again = subprocess.Popen([sys.executable, "-m", "attlas", "fit", *words], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: len((tmp_path / "run/metrics.jsonl").read_text().splitlines()) > first + 3 or again.poll() is not None)
    again.send_signal(signal.SIGINT)
    _, err = again.communicate(timeout=60)
    assert again.returncode == 130
    assert re.search(rf"^fit epoch ({first}|{first + 1}) ", err, re.MULTILINE), "it went on where it was stopped"
    assert "fit epoch 1 " not in err or first <= 1


def test_ctrl_c_before_anything_began_says_so(club_files: Path, command: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attlas.runner.load_split", interrupted)
    said = command("fit", "--data", club_files / "ratings.csv", "--model", "ease", "--out", club_files / "never")
    assert (said.code, said.err) == (130, "attlas: stopped; nothing had begun\n")


def test_ctrl_c_in_a_fit_without_a_folder_says_that_nothing_was_kept(
    club_files: Path, command: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("attlas.trial.train_model", interrupted)
    said = command("fit", "--data", club_files / "ratings.csv", "--model", "ease")
    assert (said.code, said.err.splitlines()[-1]) == (130, "attlas: stopped; nothing was kept; give --out next time")


def test_ctrl_c_in_any_other_command_is_one_line(runs: Path, command: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attlas.recommender.load", interrupted)
    said = command("similar", runs / "ease", "f4")
    assert (said.code, said.err) == (130, "attlas: stopped\n")


def interrupted(*_: Any, **__: Any) -> None:
    """What Ctrl-C does."""
    raise KeyboardInterrupt


def wait_for(is_true: Callable[[], bool], timeout_seconds: float = 60) -> None:
    """Look every few milliseconds until something is true."""
    end = time.monotonic() + timeout_seconds
    while not is_true():
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.005)


@pytest.mark.parametrize("words", [["models", "--json"], ["--help"]], ids=" ".join)
def test_a_reader_that_goes_away_is_met_with_silence(words: list[str]) -> None:
    """As in ``attlas models | true``."""
    done = subprocess.Popen([sys.executable, "-m", "attlas", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.stdout is not None
    done.stdout.close()
    assert done.stderr is not None
    assert done.stderr.read() == ""
    assert done.wait(timeout=60) in (0, 1)
    done.stderr.close()


def test_a_fit_on_users_held_out_whole_says_what_it_is(club_files: Path, command: Callable) -> None:
    said = command("fit", "--data", club_files / "ratings.csv", "--model", "ease", "--split", "held-out-users")
    assert said.code == 0
    assert "8 validation and 8 test users are strangers to training, known by" in said.err
    assert "split held-out-users, 8 users, ties averaged, strangers answered: from the history" in " ".join(said.out.split())


def test_help_names_the_default_split_and_when_it_is_which(command: Callable) -> None:
    said = command("fit", "--help").out
    words = " ".join(said.replace("│", " ").split())
    assert "held-out-users" in words
    assert "global-time where times are known, else user-ratio; global-ratio of labelled rows" in words


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("fit", "a random split depends on"),
        ("fit", "of ratings and labels what is predicted"),
        ("evaluate", "label or target for those of labelled rows"),
        ("compare", "delf; nfm, deepfm and afm on labelled rows"),
        ("compare", "the TOML file's table of data"),
    ],
)
def test_help_says_what_stands_and_where_it_differs(name: str, said: str, command: Callable) -> None:
    assert said in " ".join(command(name, "--help").out.replace("│", " ").split())


def test_beside_sampled_figures_stand_their_correction_and_the_full_ones(given_files: Path, command: Callable) -> None:
    said = command("fit", "--data", given_files, "--model", "popularity", "--protocol", "ncf", "--set", "evaluation.k=[2]")
    assert said.code == 0, said.err
    sampled, full, lists = re.split(r"popularity: protocol full|What the lists are like", said.out)
    assert re.search(r"metric +mean +95 % interval +corrected +full", sampled)
    assert re.search(r"ndcg@2 +0\.\d{4} .+ -?\d\.\d{4} +\d\.\d{4}", sampled)
    assert "corrected" not in full
    assert not re.search("ndcg|auc", lists)
    rows = [line.split()[0] for line in lists.splitlines() if "@2" in line]
    assert rows == ["novelty@2", "popularity@2", "diversity@2", "coverage@2", "gini@2"]
