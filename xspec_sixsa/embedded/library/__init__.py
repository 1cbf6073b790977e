"""XSPEC's own compiled models, where ``pip install xspectrampoline`` has put them.

`catalogue.library` returns them, or None. They run in processes of their own, which have their settings sent along, so
that neither this process nor a real XSPEC in it ever loads them.
"""
