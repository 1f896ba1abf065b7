import nbformat
import pytest

from rbtc.book.execute import REPOSITORY
from rbtc.book.figures import Figure, code_of, drawn_in, paired, read_figures
from rbtc.book.opening import pages

ENTRY = """
[[08_objects]]
call = "plates.picture_grid"
caption = \"\"\"One picture per class \\
    and model.\"\"\"
alt = "Grid of pictures."
csv = ["08_objects"]
"""


@pytest.fixture
def root(tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "08_objects.csv").write_text("n\n1\n")
    (tmp_path / "book" / "figures.toml").write_text(ENTRY)
    return tmp_path


def cell(source, *kinds):
    outputs = [
        nbformat.v4.new_output("display_data", {kind: "AAAA", "text/plain": "x"}) for kind in kinds
    ]
    return nbformat.v4.new_code_cell(source, outputs=outputs)


def page(*cells):
    return nbformat.v4.new_notebook(cells=list(cells))


SOURCES = (
    "from rbtc.lab import Lab\nfrom rbtc.report import pictures as plates\n"
    "from rbtc.report import tables\nfrom rbtc.studies.measuring.objects import object_study\n"
    "lab = Lab(profile)\nstudy = object_study(lab, concepts, images)",
    'tables.save_csv(study.hits, "08_objects")\nplates.picture_grid(study.pictures)',
)


def test_a_figure_has_a_number_and_its_texts_in_one_line(root):
    (figure,) = read_figures(root)["08_objects"]
    assert figure.label == "Figure 8.1" and figure.csv == ("08_objects",)
    assert figure.caption == "One picture per class and model."


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('alt = "Grid of pictures."', "", "holds .*, expected call, caption, alt, csv"),
        ('["08_objects"]', '["08_other"]', r"there is no results/08_other\.csv"),
        ("[[08_objects]]", "[[08_objects]", "is not valid TOML"),
    ],
)
def test_a_bad_entry_is_named(root, old, new, told):
    path = root / "book" / "figures.toml"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match=told):
        read_figures(root)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="holds the captions"):
        read_figures(root)


def test_figures_are_pictures_that_a_cell_shows():
    shown = page(cell("x = 1"), cell("plates.picture_grid(a)", "image/png"), cell("1", "text/html"))
    assert drawn_in(shown) == [1]


def test_a_page_that_lacks_a_figure_keeps_the_captions_of_the_others():
    first, second, third = (
        Figure("01_x", n, call, "c", "a", ("r",)) for n, call in enumerate(("a.x", "b.y", "c.z"), 1)
    )
    shown = page(
        cell("a.x(1)", "image/png"), cell("d.w(1)", "image/png"), cell("c.z()", "image/png")
    )
    assert paired([first, second, third], shown) == [(first, 0), (None, 1), (third, 2)]
    assert paired([], shown) == [(None, 0), (None, 1), (None, 2)]


def test_the_code_of_a_figure_is_what_draws_it_and_what_made_its_values():
    made = page(*(cell(source) for source in SOURCES))
    drawing, study = code_of(made, 1, "plates.picture_grid", REPOSITORY)
    assert (drawing.name, drawing.file) == ("picture_grid", "rbtc/report/pictures.py")
    lines = (REPOSITORY / drawing.file).read_text().splitlines()
    assert lines[drawing.line - 1].startswith("def picture_grid(")
    assert (study.name, study.file) == ("object_study", "rbtc/studies/measuring/objects.py")


def test_every_figure_of_the_book_is_described_and_leads_to_code():
    figures, executed = read_figures(REPOSITORY), pages(REPOSITORY)
    assert {*figures} <= {*executed}
    for name, page in executed.items():
        for figure, index in zip(figures.get(name, []), drawn_in(page), strict=True):
            assert f"{figure.call}(" in page.cells[index].source, figure.label
            assert code_of(executed[name], index, figure.call, REPOSITORY), figure.label
            assert len(figure.alt) >= 80, f"{figure.label} of {name} says too little"
