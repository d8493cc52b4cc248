"""``python -m mmlowformer.doctor``: what is wrong with an environment.

Nothing in here imports torch or a library of OpenMMLab: what is broken is
looked at from processes of its own, see :mod:`.probes`.
"""
