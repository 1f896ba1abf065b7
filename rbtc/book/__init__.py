"""Make the book: execute notebooks, judge pages, build the site. Knows no science."""
