"""What the commands share: flags, exit codes, and what they must not load."""

import errno
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from study.common.command import quiet_stderr
from study.common.command import run_command
from study.common.errors import StudyError
from tests.support.commands import ROOT

SLOW = {"keras", "mlflow", "optuna", "pandas", "plotly", "scipy", "sklearn", "tensorflow"}
REFUSED = [  # a command, and flags that it refuses
    ("study.train", "--rate 1"),
    ("study.train", "--lr fast"),
    ("study.train", "--force"),
    ("study.grid", "--rate 1"),
    ("study.grid", "--sweep lr=fast"),
    ("study.grid", "--workers 0"),
    ("study.grid", "--workers 2"),
    ("study.tpe", "--rate 1"),
    ("study.tpe", "--fix rate=1"),
    ("study.tpe", "--sampler best"),
    ("study.tpe", "--timeout soon"),
    ("study.offline", "--out records --minutes 0"),
    ("study.sync", "--rate 1"),
    ("study.predict", "--model models:/demo@best --out photos/table.csv photos"),
    ("study.data.audit.__main__", "--rate 1"),
    ("study.data.audit.__main__", "--groups-from ("),
    ("pipelines.export", "--dataset cells"),
    ("pipelines.report", "--dataset cells"),
    ("pipelines.power", "--dataset demo --accuracy 0.9"),
    ("pipelines.power", "--dataset demo --seed-sd 90"),
    ("pipelines.cases.__main__", "--run 0f3a --count 0"),
]


@pytest.mark.parametrize(
    ("error", "code", "shown"),
    [
        (None, 0, ""),
        (StudyError("no room\nmake some"), 2, "error: no room\nmake some\n"),
        (KeyboardInterrupt(), 130, "\nstopped: repeat the command to continue\n"),
    ],
)
def test_exit_code_and_message_follow_from_the_error(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    error: BaseException | None,
    code: int,
    shown: str,
) -> None:
    monkeypatch.chdir(tmp_path)

    def main() -> None:
        if error is not None:
            raise error

    assert run_command(main) == code
    assert capsys.readouterr() == ("", shown)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PermissionError(errno.EACCES, "denied", "x"), "cannot open x (denied): change"),
        (OSError(errno.EROFS, "read-only", "x"), "cannot open x (read-only): change"),
        (OSError(errno.ENOSPC, "no space"), "cannot write a file (no space): free"),
        (
            FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"),
            "No usable temporary directory found in ['/tmp']: set TMPDIR",
        ),
    ],
)
def test_file_that_cannot_be_written_is_named_in_one_line(
    error: OSError, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    assert run_command(fail) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"error: {message}")


def test_warning_of_a_library_imported_later_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def main() -> None:
        warnings.simplefilter("always", UserWarning)  # as SciPy does when it is imported
        warnings.warn("a notice", UserWarning, stacklevel=1)

    with warnings.catch_warnings(record=True) as shown:
        assert run_command(main) == 0
    assert shown == []


def test_unexpected_error_is_raised_with_its_traceback(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)

    def main() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_command(main)


@pytest.mark.parametrize(
    ("action", "unbuffered"),
    [
        ("print('a line')", "1"),
        ("print('a line')", ""),
        ("print('a line', flush=True)", ""),
        ("OutputConsole().print('a line')", ""),
        ("print('a line', file=sys.stderr)", ""),
        ("Progress().say('a line')", ""),
        ("Parser('A test.', 'study.train').parse_args(['--help'])", ""),
    ],
)
def test_command_whose_reader_has_gone_ends_quietly(
    action: str, unbuffered: str, tmp_path: Path
) -> None:
    is_error = "stderr" in action or "Progress" in action
    code = f"""if True:
        import sys
        from study.common.command import run_command
        from study.common.parser import Parser
        from study.common.progress import OutputConsole, Progress
        sys.exit(run_command(lambda: {action}))
    """
    read_end, write_end = os.pipe()
    os.close(read_end)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    streams["stderr" if is_error else "stdout"] = write_end
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered},
        **streams,
    )
    os.close(write_end)
    assert done.returncode == 141
    assert not done.stdout
    assert not done.stderr


@pytest.mark.parametrize(
    "action",
    [
        "os.kill(os.getpid(), signal.SIGINT)",
        "os.kill(os.getpid(), signal.SIGTERM)",
        "interrupt_in_quiet()",
    ],
)
def test_interruption_without_a_reader_of_stderr_stays_an_interruption(
    action: str, tmp_path: Path
) -> None:
    code = f"""if True:
        import os, signal, sys
        from study.common.command import quiet_stderr, run_command
        def interrupt_in_quiet():
            with quiet_stderr():
                os.write(2, b"of a library")
                raise KeyboardInterrupt
        def main():
            try:
                {action}
            except BaseException as error:
                print(type(error).__name__)
                raise
        sys.exit(run_command(main))
    """
    read_end, write_end = os.pipe()
    os.close(read_end)  # as Ctrl-C does to `2>&1 | tee log`
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=write_end,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    os.close(write_end)
    assert done.returncode == 141
    assert done.stdout == b"KeyboardInterrupt\n"


@pytest.mark.parametrize("streams", [(1,), (2,), (0, 1, 2)])
def test_command_with_closed_streams_runs_and_opens_no_file_in_their_place(
    streams: tuple[int, ...], tmp_path: Path
) -> None:
    code = f"""if True:
        import os, sys
        from study.common.command import run_command
        def main():
            file = open("a.db", "w")
            for number in {streams}:
                os.write(number, b"of a library") if number else None
            print("a line", file=sys.stdout if 1 in {streams} else sys.stderr)
        sys.exit(run_command(main))
    """
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: [os.close(number) for number in streams],
    )
    assert done.returncode == 0
    assert not (tmp_path / "a.db").read_bytes()


def test_broken_pipe_of_anything_else_is_no_quiet_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)

    def main() -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        run_command(main)


@pytest.mark.parametrize(
    ("value", "encoding"), [("x", "utf-16"), ("x", "utf-16-le"), ("Zürich", "latin-1")]
)
def test_env_file_in_another_encoding_is_one_line_and_exit_code_2(
    value: str,
    encoding: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes(f"STUDY_CACHE={value}\n".encode(encoding))
    assert run_command(lambda: None) == 2
    assert capsys.readouterr().err == (
        f"error: {tmp_path}/.env is not in UTF-8, as of PowerShell's `>`: save it in UTF-8\n"
    )


def test_env_file_with_a_byte_order_mark_gives_its_first_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("STUDY_CACHE=here\n", encoding="utf-8-sig")
    monkeypatch.delenv("STUDY_CACHE")
    seen: list[str | None] = []
    run_command(lambda: seen.append(os.environ.get("STUDY_CACHE")))
    assert seen == ["here"]


def test_env_file_gives_settings_unless_the_environment_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("STUDY_FIRST=file\nSTUDY_SECOND=file\n")
    monkeypatch.setenv("STUDY_SECOND", "set")
    monkeypatch.setenv("STUDY_FIRST", "")  # so that it is put back after the test
    monkeypatch.delenv("STUDY_FIRST")
    seen: list[str] = []
    run_command(lambda: seen.extend(os.environ[f"STUDY_{n}"] for n in ("FIRST", "SECOND")))
    assert seen == ["file", "set"]


def test_quiet_stderr_drops_what_libraries_write(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet_stderr():
        os.write(2, b"chatter\n")
    os.write(2, b"word\n")
    assert capfd.readouterr().err == "word\n"


def test_quiet_stderr_before_an_error_shows_what_was_written(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ZeroDivisionError), quiet_stderr():
        os.write(2, b"why\n") / 0
    assert capfd.readouterr().err == "why\n"


def test_work_of_the_commands_is_imported_without_keras() -> None:
    modules = ["study.search.run_grid", "study.search.run_search", "study.trial.train_config"]
    modules += ["study.offline_job", "study.tracking.deliver_records"]
    modules += ["study.serving.predict_folder", "study.data.audit.run_audit"]
    modules += ["pipelines.cases.show_cases", "pipelines.compare.power_plan"]
    modules += ["pipelines.page.export_report"]
    code = f"import sys, {', '.join(modules)}; print({{'keras', 'tensorflow'}} & {{*sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


def test_help_and_refused_flags_load_no_slow_library(tmp_path: Path) -> None:
    code = f"""if True:
        import importlib, sys
        from study.common.command import run_command
        for module, flags in {REFUSED!r}:
            main = importlib.import_module(module).main
            for words in (["--help"], flags.split()):
                sys.argv = [module, *words]
                try:
                    code = run_command(main)
                except SystemExit as end:
                    code = end.code
                print("result:", code, *words, *sorted({SLOW!r} & sys.modules.keys()))
    """
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("result:")]
    expected = [("result: 0 --help", f"result: 2 {flags}") for _, flags in REFUSED]
    assert lines == [line for pair in expected for line in pair]
