"""Refuse weak passwords before anything is protected by them."""

import re
from collections.abc import Mapping

from deploy.errors import StackError

PASSWORDS = ("PGPASSWORD", "MLFLOW_TRACKING_PASSWORD")
MIN_LENGTH = 12  # characters of a password
# Passwords are matched without digits and punctuation. "atleastcharacters" is the example of
# .env.example.
WELL_KNOWN = re.compile(
    "(admin|atleastcharacters|changeme|changethis|default|example|letmein|mlflow|optuna|"
    "password|postgres|postgresql|qwerty|secret|study|test|user|welcome)*"
)


def check_passwords(environment: Mapping[str, str]) -> None:
    """Check the passwords that protect the stack.

    Raises:
        StackError: one is missing, short, well known, or has characters that a login cannot send.
    """
    for name in PASSWORDS:
        reason = _find_weakness(name, environment.get(name, ""))
        if reason is not None:
            raise StackError(f"{name} {reason}: put what `openssl rand -hex 24` prints into .env")


def _find_weakness(name: str, password: str) -> str | None:
    if not password:
        return "is not set"
    if len(password) < MIN_LENGTH:
        return f"is shorter than {MIN_LENGTH} characters"
    if not password.isprintable():
        return "has a line end or another control character"
    if name == "MLFLOW_TRACKING_PASSWORD" and not password.isascii():
        return "has characters beyond ASCII, which MLflow's login does not accept"
    letters = re.sub("[^a-z]", "", password.lower())
    if not letters:
        return "has no letter from a to z"
    if WELL_KNOWN.fullmatch(letters):
        return "is a well-known one"
    return None
