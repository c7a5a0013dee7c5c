"""What the check of the built documentation site finds."""

from pathlib import Path

import pytest

from docs.site.check import main, problems

GOOD = """\
<link rel="stylesheet" href="style.css?v=1"><img src="data:image/png;base64,AA" srcset="plot.png 2x">
<h1 id="top">Page</h1> <a href="#top">up</a> <a href="folder/other.html#part">other</a>
<a href="https://example.com/elsewhere">another site</a> <a href="mailto:someone@example.com">mail</a>
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    (tmp_path / "index.html").write_text(GOOD)
    (tmp_path / "folder" / "other.html").write_text('<p id="part"> <a href="../index.html">home</a>')
    (tmp_path / "style.css").write_text("a { background: url('plot.png'), url(data:image/png;base64,AA), url(#shape) }")
    (tmp_path / "plot.png").touch()
    return tmp_path


def test_a_site_with_relative_links_passes(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(problems(site)) == []
    with pytest.raises(SystemExit) as ended:
        main(str(site))
    assert ended.value.code == 0
    assert "none is loaded from another host" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("element", "problem"),
    [
        ('<script src="https://cdn.example/a.js">', "loads https://cdn.example/a.js from another host"),
        ('<script src="//cdn.example/a.js">', "loads //cdn.example/a.js from another host"),
        ('<link rel="preload" href="http://cdn.example/a.woff2">', "loads http://cdn.example/a.woff2"),
        ('<img srcset="plot.png, https://cdn.example/b.png 2x">', "loads https://cdn.example/b.png"),
        ('<iframe src="https://cdn.example/">', "loads https://cdn.example/"),
        ('<p style="background: url(https://cdn.example/c.png)">', "loads https://cdn.example/c.png"),
        ('<a href="missing.html">', "links to missing.html"),
        ('<a href="folder/other.html#nothing">', "links to folder/other.html#nothing"),
        ('<a href="#nothing">', "links to #nothing"),
        ('<a href="folder/">', "links to folder/"),
        ('<a href="/index.html">', "links to /index.html"),  # does not work below a path, nor from a file
        ('<img src="missing.png">', "links to missing.png"),
        ('<meta http-equiv="refresh" content="0; url=missing.html">', "links to missing.html"),
    ],
)
def test_a_page_that_depends_on_more_than_the_site_fails(element: str, problem: str, site: Path) -> None:
    (site / "bad.html").write_text(element)
    (found,) = problems(site)
    assert f"bad.html {problem}" in found


@pytest.mark.parametrize(
    "rule", ["@import 'https://fonts.example/a.css';", "a { src: url(//fonts.example/a.woff2) }", "a { b: url(c.png) }"]
)
def test_a_style_sheet_that_loads_from_elsewhere_fails(rule: str, site: Path) -> None:
    (site / "bad.css").write_text(rule)
    (found,) = problems(site)
    assert found.startswith("bad.css loads ")
