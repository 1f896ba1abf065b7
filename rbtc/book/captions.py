"""A Sphinx extension: every figure gets its number, caption, alternative text and three links.

They lead to the numbers (CSV), to the notebook, and to the functions behind the figure, on pages
that hold the files from which the site was built.
"""

from __future__ import annotations

import html
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rbtc.book.figures import Code, Figure, code_of, paired, read_figures

CHAPTERS, CODE, RESULTS = "notebooks/", "code/", "results"
"""Where chapters, code and results files lie in the site."""

_KEPT = "rbtc_figures"  # in Sphinx's environment: page -> its figures with their code


def setup(app: Any) -> dict[str, Any]:
    """Connect to Sphinx."""
    app.connect("doctree-read", look_up)
    app.connect("env-purge-doc", forget)
    app.connect("doctree-resolved", caption_figures)
    app.connect("html-collect-pages", code_pages)
    app.connect("build-finished", copy_results)
    return {"parallel_read_safe": False, "parallel_write_safe": True, "version": "1"}


def root_of(app: Any) -> Path:
    """The repository: the book lies one folder below it."""
    return Path(app.srcdir).resolve().parent


def look_up(app: Any, doctree: Any) -> None:
    """Find the figures of a page that was just read, and the code behind each."""
    import nbformat

    name = app.env.docname
    if not name.startswith(CHAPTERS):
        return
    root, chapter = root_of(app), name.removeprefix(CHAPTERS)
    page = nbformat.read(Path(app.srcdir) / f"{name}.ipynb", as_version=4)
    figures = read_figures(root).get(chapter, [])
    kept = _kept(app.env)
    kept[name] = [
        (figure, [] if figure is None else code_of(page, index, figure.call, root))
        for figure, index in paired(figures, page)
    ]


def forget(app: Any, env: Any, docname: str) -> None:
    """Drop what is known of a page that is read anew."""
    _kept(env).pop(docname, None)


def caption_figures(app: Any, doctree: Any, docname: str) -> None:
    """Put every picture of a page that a cell shows into a figure with a caption.

    One that nobody described, on a page that was made with other parameters, stays as it is.
    """
    from docutils import nodes

    if not docname.startswith(CHAPTERS):
        return
    pictures = [
        image
        for output in doctree.findall(nodes.container)
        if "cell_output" in output.get("classes", ())
        for image in output.findall(nodes.image)
    ]
    for image, (figure, code) in zip(pictures, _kept(app.env).get(docname, []), strict=True):
        if figure is None:
            continue
        image["alt"] = figure.alt
        framed = nodes.figure(ids=[f"figure-{figure.number}"], classes=["numbered"])
        image.replace_self(framed)
        framed += image
        label = nodes.reference(
            "", "", nodes.strong("", figure.label), refuri=f"#figure-{figure.number}", internal=True
        )
        framed += nodes.caption("", "", label, nodes.Text(f" {figure.caption}"))
        framed += nodes.legend("", nodes.paragraph("", "", *_links(docname, figure, code)))


def _links(docname: str, figure: Figure, code: list[Code]) -> Iterator[Any]:
    """Numbers, notebook and code of a figure, each with its links."""
    from docutils import nodes

    up = "../" * docname.count("/")
    parts = {
        "Numbers": [(f"{name}.csv", f"{up}{RESULTS}/{name}.csv") for name in figure.csv],
        "Notebook": [(f"{figure.chapter}.ipynb", f"{up}_sources/{docname}.ipynb")],
        "Code": [(one.name, f"{up}{_page_of(one.file)}.html#L-{one.line}") for one in code],
    }
    stop = ""
    for what, links in parts.items():
        between = f"{stop}{what}: "
        for text, target in links:
            yield nodes.Text(between)
            yield nodes.reference("", "", nodes.literal("", text), refuri=target, internal=True)
            between, stop = ", ", ". "
    yield nodes.Text(".")


def code_pages(app: Any) -> Iterator[tuple[str, dict[str, Any], str]]:
    """A page per file of code that a figure links to, every line with an anchor."""
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    from rbtc.lab.provenance import commit

    root = root_of(app)
    files = {code.file for page in _kept(app.env).values() for _, found in page for code in found}
    shown = HtmlFormatter(lineanchors="L", linenos="inline", wrapcode=True)
    made = html.escape(commit())
    for file in sorted(files):
        text = highlight((root / file).read_text(encoding="utf-8"), PythonLexer(), shown)
        name = html.escape(file).replace("/", "/<wbr>")  # where a narrow screen may break it
        text = f'<div class="highlight-python notranslate">{text}</div>'
        body = f"<h1>{name}</h1>\n<p>As it stands in commit {made}.</p>\n{text}"
        yield _page_of(file), {"title": file, "body": body}, "page.html"


def copy_results(app: Any, error: Exception | None) -> None:
    """Put the results files into the site, under their own names."""
    if error is not None or app.builder.format != "html":
        return
    target = Path(app.outdir) / RESULTS
    target.mkdir(exist_ok=True)
    for path in sorted((root_of(app) / RESULTS).glob("*.csv")):
        shutil.copyfile(path, target / path.name)


def _page_of(file: str) -> str:
    return CODE + file.removesuffix(".py")


def _kept(env: Any) -> dict[str, list[tuple[Figure | None, list[Code]]]]:
    if not hasattr(env, _KEPT):
        setattr(env, _KEPT, {})
    return getattr(env, _KEPT)
