"""The opening page's measured parts, and what the site leaves out."""

import base64
import io
import shutil
from types import SimpleNamespace

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image
from round_trip import run_of

from rbtc import saving
from rbtc.book import opening, site
from rbtc.models.subjects import Subject
from rbtc.paper import printed
from rbtc.studies.objects import MODELS, ObjectStudy


@pytest.fixture
def root(tmp_path):
    """A small repository: two executed pages, one of them with a figure, and chapter 08's study."""
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
    hits = pd.DataFrame(
        [
            {"concept": name, "model": model, "classes": "erased", "asked": name,
             "prompt": f"a {name}", "seed": seed, "hit": seed < right}
            for name in ("church", "racket")
            for model, right in zip(MODELS, (12, 3, 3, 6, 6, 10), strict=True)
            for seed in range(12)
        ]
    )  # fmt: skip
    subjects = tuple(Subject(name, name, "object") for name in ("church", "racket"))
    run = run_of("08_objects", settings={"ratio": 0.125, "keep_ratio": 0.25})
    saving.save(ObjectStudy(subjects, hits, {}), tmp_path / "results/mini/08_objects", run)
    return tmp_path


def test_three_numbers_beside_the_papers_with_the_prune_ratio(root):
    text = opening.numbers(root)
    assert text.count(":::{grid-item-card}") == 3
    theirs = [(printed(1, "Church", one) + printed(1, "Racket", one)) / 2
              for one in ("erased: pretrained", "erased: ConceptPrune", "erased: NMS")]  # fmt: skip
    for part in ("**1.00**", "**0.25**", "**0.83**", "over 2 classes", "24 pictures", "K = 0.25",
                 "prune ratio 0.125", *(f"**{one:.2f}**" for one in theirs)):  # fmt: skip
        assert part in text
    shutil.rmtree(root / "results/mini/08_objects")
    with pytest.raises(FileNotFoundError, match="rbtc measure 08_objects"):
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
