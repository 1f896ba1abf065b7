"""From numbers to pages: the paper's tables, comparisons, claims and figures."""
