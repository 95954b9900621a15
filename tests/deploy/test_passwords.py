"""Weak passwords are refused before anything is protected by them."""

import re
from pathlib import Path

import pytest

from deploy.errors import StackError
from deploy.passwords import check_passwords
from deploy.passwords import PASSWORDS
from tests.support.commands import ROOT
from tests.support.commands import run


def example_passwords() -> list[str]:
    text = (ROOT / ".env.example").read_text()
    return re.findall(r"^# \w*PASSWORD=(.*)", text, re.MULTILINE)


WEAK = ["", "short", "password", "password1234", "admin", "changeme", "Changeme-2024!", "mlflow"]
WEAK += ["postgres", "postgres12345", "123456789012", *example_passwords()]


@pytest.mark.parametrize("weak", sorted(set(WEAK)))
def test_weak_password_is_refused_by_its_name(weak: str) -> None:
    good = dict.fromkeys(PASSWORDS, "a2f1-not-guessed")
    check_passwords(good)
    for name in PASSWORDS:
        with pytest.raises(StackError, match=name):
            check_passwords(good | {name: weak})


def test_password_that_a_login_cannot_send_is_refused() -> None:
    good = dict.fromkeys(PASSWORDS, "p@s:s/w#o%r&d $HOME 'x'")
    check_passwords(good)
    check_passwords(good | {"PGPASSWORD": "pässwörd-not-guessed"})
    with pytest.raises(StackError, match="MLFLOW_TRACKING_PASSWORD has characters beyond ASCII"):
        check_passwords(good | {"MLFLOW_TRACKING_PASSWORD": "pässwörd-not-guessed"})
    with pytest.raises(StackError, match="PGPASSWORD has no letter"):
        check_passwords(good | {"PGPASSWORD": "1234-5678-9012"})
    with pytest.raises(StackError, match="PGPASSWORD has a line end"):
        check_passwords(good | {"PGPASSWORD": "a2f1-not-guessed\r"})


@pytest.mark.parametrize("module", ["deploy.serve", "deploy.native"])
def test_command_with_a_weak_password_exits_2_with_one_line(module: str, tmp_path: Path) -> None:
    flags = ["mlflow"] if module == "deploy.serve" else [str(tmp_path / "stack"), "--free-ports"]
    passwords = {"PGPASSWORD": "a2f1-not-guessed", "MLFLOW_TRACKING_PASSWORD": "password1234"}
    done = run(module, *flags, cwd=tmp_path, **passwords)
    assert done.returncode == 2
    assert done.stderr.startswith("error: MLFLOW_TRACKING_PASSWORD is a well-known one")
    assert done.stderr.count("\n") == 1
