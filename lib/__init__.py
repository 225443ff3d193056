"""Living Models: the models behind the book, in plain torch.

Import the module of the chapter you need, as in ``from lib import leslie``.
"""
