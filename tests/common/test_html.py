"""What all HTML pages have in common."""

from pathlib import Path

import jinja2
import pytest

from study.common.html import render_page


def render(tmp_path: Path, body: str, **values: str) -> str:
    template = tmp_path / "body.html.j2"
    template.write_text(
        f'{{% extends "page.html.j2" %}}{{% block body %}}{body}{{% endblock %}}', encoding="utf-8"
    )
    return render_page(template, [], **values)


def test_text_never_becomes_markup(tmp_path: Path) -> None:
    page = render(tmp_path, '<img alt="{{ name }}">', title="a<b>&", name='"><script>')
    assert "<title>a&lt;b&gt;&amp;</title>" in page
    assert "<h1>a&lt;b&gt;&amp;</h1>" in page
    assert '<img alt="&#34;&gt;&lt;script&gt;">' in page


def test_percent_sign_stays_with_its_number(tmp_path: Path) -> None:
    page = render(tmp_path, "{{ text | keep_percents }}", title="t", text="5 % of <all>")
    assert "5\N{NO-BREAK SPACE}% of &lt;all&gt;" in page


def test_value_that_is_forgotten_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(jinja2.UndefinedError, match="name"):
        render(tmp_path, "{{ name }}", title="t")
