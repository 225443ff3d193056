"""Good arguments of every public function, one table per area.

:mod:`tests.test_bad_input` puts bad ones in their place.
"""
