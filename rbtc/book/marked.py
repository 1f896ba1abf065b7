"""A page of which one part, between two markers, is computed and the rest is written by hand."""


def replaced(text: str, begin: str, end: str, part: str, page: str) -> str:
    """`text` with `part`, which brings the markers with it, in place of what stands between them.

    Raises:
        ValueError: the markers are not there once each; `page` is named.
    """
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"{page} must hold {begin} and {end} once each")
    head, rest = text.split(begin)
    return head + part + rest.split(end)[1]
