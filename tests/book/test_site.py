"""The opening page's measured parts, and what the site leaves out."""

import base64
import io
from types import SimpleNamespace

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from rbtc.book import opening, site


@pytest.fixture
def root(tmp_path):
    """A small repository: two executed pages, one of them with a figure, and chapter 08's files."""
    drawn = io.BytesIO()
    Image.new("RGB", (30, 10), "red").save(drawn, format="png")
    figure = new_output("display_data", {"image/png": base64.b64encode(drawn.getvalue()).decode()})
    folder = tmp_path / "book" / "notebooks"
    folder.mkdir(parents=True)
    for name, outputs in (("01_signs", [figure]), ("90_point", [])):
        page = new_notebook(
            cells=[
                new_markdown_cell(f"# Chapter {name}\n\nText. **What\nis it?** More."),
                new_code_cell("1", outputs=outputs),
            ]
        )
        nbformat.write(page, folder / f"{name}.ipynb")
    toc = "- file: notebooks/90_point\n- file: notebooks/01_signs\n- file: notebooks/02_no\n"
    (tmp_path / "_toc.yml").write_text(toc)
    (tmp_path / "results").mkdir()
    rows = [
        {"row": row, "column": "erased class", "paper": p, "ours": o, "low": o, "high": o, "n": 24}
        for row, p, o in (("pretrained", 0.9, 0.97), ("pruned", 0.1, 0.25), ("NMS", 0.5, 0.875))
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "results" / "08_totals.csv", index=False)
    objects = pd.DataFrame({"concept": ["church", "star"]})
    objects.to_csv(tmp_path / "results" / "08_objects.csv", index=False)
    return tmp_path


def test_three_numbers_beside_the_papers_with_the_prune_ratio(root):
    text = opening.numbers(root)
    assert text.count(":::{grid-item-card}") == 3
    for part in ("**0.97**", "**0.25**", "**0.88**", "**0.10**", "over 2 classes", "24 pictures"):
        assert part in text
    assert text.count("prune ratio") == 2
    (root / "results" / "08_totals.csv").unlink()
    with pytest.raises(FileNotFoundError, match="run 08_objects"):
        opening.numbers(root)


def test_a_card_per_executed_chapter_in_the_order_of_the_contents(root):
    text = opening.chapters(root)
    assert text.index("Chapter 90_point") < text.index("Chapter 01_signs")
    assert "02_no" not in text and text.count("What is it?") == 2
    assert text.count(":img-top:") == text.count(":img-alt:") == 1
    assert list(opening.thumbnails(root)) == ["01_signs"]


def test_a_script_that_stands_there_already_is_left_out():
    def script(filename, **attributes):
        return SimpleNamespace(filename=filename, attributes=attributes)

    scripts = [
        script("a.js"), script("", body="const x = 1"), script("", body="const x = 1"),
        script("", body="const y = 1"), script("a.js"), "b.js", "b.js",
    ]  # fmt: skip
    context = {"script_files": scripts}
    site.drop_repeated(None, "intro", "page.html", context, None)
    assert context["script_files"] == [scripts[0], scripts[1], scripts[3], "b.js"]


@pytest.mark.parametrize(("given", "picture"), [("", site.PICTURE), ("https://a.org/b/", None)])
def test_link_previews(monkeypatch, given, picture):
    monkeypatch.setenv("RBTC_SITE_URL", given)
    config = SimpleNamespace(html_baseurl="", html_title="Roots")
    context = {"title": 'A "title" &amp; more', "metatags": "<meta>"}
    site.add_preview(SimpleNamespace(config=config), "notebooks/a", "page.html", context, None)
    tags = context["metatags"]
    assert tags.startswith("<meta>\n")
    assert 'content="A &quot;title&quot; &amp; more"' in tags
    assert f'og:image" content="{picture or "https://a.org/b/" + site.PICTURE}"' in tags
    assert ("og:url" in tags) == bool(given)


def test_entries_of_a_bibliography_are_items_of_a_list():
    context = {"body": '<div role="list"><div role="doc-biblioentry">A</div></div>'}
    site.name_list_items(None, "references", "page.html", context, None)
    assert context["body"] == '<div role="list"><div role="listitem">A</div></div>'
