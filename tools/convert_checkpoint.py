"""Convert LowFormer weights to another key format: ours, authors', timm's.

SRC is a file in any of these formats, or a checkpoint of a detector or
segmentor, whose backbone is converted. DST is written only if both load into
networks with equal outputs.
"""
import argparse
import logging
import os

import _ctrl_c  # noqa: F401
from mmengine.logging import MMLogger

from mmlowformer import engine
from mmlowformer.checkpoint.conversion import (
    IMAGE_SIZE,
    KEY_FORMATS,
    Conversion,
    convert,
)
from mmlowformer.models.state_dict_keys import CLASSIFIER


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', metavar='SRC',
                        help='hf-hub:REPOSITORY, or a file: .pth, .pt, .bin '
                        'or .safetensors')
    parser.add_argument('target', metavar='DST',
                        help='file to write (safetensors if it ends in '
                        '.safetensors)')
    parser.add_argument('--arch', metavar='A',
                        help='variant: b0 b1 b15 b2 b3 e1 e2 e3 (default: '
                        'derived from the tensors)')
    parser.add_argument('--to', dest='key_format', default='own',
                        choices=KEY_FORMATS,
                        help='key format to write (default: own)')
    parser.add_argument('--force', action='store_true',
                        help='replace DST if it exists')
    return parser.parse_args()


def report(conversion: Conversion, target: str) -> None:
    weights = conversion.weights
    head = sum(name.startswith(CLASSIFIER) for name in weights.tensors)
    skipped = [f'{name}.* ({count})'
               for name, count in weights.left_aside.items()]
    outputs = '4 feature maps' + (' and the class scores' if head else '')
    height, width = IMAGE_SIZE
    lines = {
        'keys': f'{weights.key_format} -> {conversion.key_format}',
        'arch': weights.arch,
        'tensors': f'{len(weights.tensors) - head} of the backbone, {head} of '
                   'the classifier',
        'skipped': ', '.join(skipped + weights.entries) or 'nothing',
        'parameters': f'{weights.parameters:,}',
        'comparison': f'{outputs} of a {height}x{width} image are equal, bit '
                      'for bit',
        'sha256': conversion.sha256}
    for name, text in lines.items():
        print(f'{name:<12}{text}')
    print(f'Written: {target}')


def main() -> None:
    args = parse_args()
    engine.enable_safe_loading(os.environ)
    # The report at the end has what the networks log when loading.
    MMLogger.get_current_instance().setLevel(logging.WARNING)
    with engine.one_line_errors('convert_checkpoint.py'):
        # convert() reports a missing file after checking DST.
        if '://' in args.source or os.path.isfile(args.source):
            args.source = engine.local_checkpoint(args.source)
        conversion = convert(**vars(args))
    report(conversion, args.target)


if __name__ == '__main__':
    main()
