"""A stranger's file format: the sheet that a choir school exports, one singer in each row.

Written against ``rostersync`` alone, as a plugin is. The tests copy it out of this repository and
install it beside the product.
"""
