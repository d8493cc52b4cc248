"""``python -m mmlowformer.doctor`` finds out what is wrong with a setup.

Nothing here imports torch or OpenMMLab: :mod:`.probes` does in a process of
its own, which a broken library may crash.
"""
