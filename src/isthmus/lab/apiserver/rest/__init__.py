"""HTTP: what a request asks, who may ask it, and the answer.

Belongs here: parsing paths, options and bodies; reading, writing, watching, discovery as answers. Must not: decide what
becomes of an object (``changes`` does) or how it is kept (``storage`` does).
"""
