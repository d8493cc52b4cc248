"""What tests of the set-up share."""


def fake_python(folder, script):
    path = folder / 'python'
    path.write_text(f'#!/bin/sh\n{script}\n')
    path.chmod(0o755)
    return path
