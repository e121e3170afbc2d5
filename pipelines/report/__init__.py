"""A job's report: one small page that explains itself, without anything from elsewhere.

    parts.py  what a page is made of      curve.py  a loss curve as a drawing
    page.py   parts → HTML                diff.py   said against heard
                                          audio.py  short samples inside the page

Knows no job and no model: a handler fills in parts with its own words.
"""
