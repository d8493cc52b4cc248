"""Write the metafiles, model-index.yml and the tables of the model zoo.

Parameters and multiply-accumulates are counted; accuracies are reported ones
with their source. A test runs this with --check.
"""
import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import _ctrl_c  # noqa: F401
import torch
import yaml
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmlowformer import LowFormer, get_config
from mmlowformer.benchmark.models import model_info
from mmlowformer.benchmark.report import markdown
from mmlowformer.errors import UserError, first_line, one_line_errors
from mmlowformer.models.ablations import ABLATIONS

ROOT = Path(__file__).resolve().parents[1]
PAPER = dict(
    URL='https://arxiv.org/abs/2409.03460',
    Title='LowFormer: Hardware Efficient Design for Convolutional Transformer '
    'Backbones')
# Top-1 accuracy on ImageNet-1K at 224x224.
PUBLISHED = dict(b0=78.4, b1=79.9, b15=81.2, b2=81.6, b3=83.6, e1=78.8,
                 e2=81.6, e3=83.0)
PUBLISHED_BY = ('reported by the authors, https://arxiv.org/abs/2409.03460 '
                'and https://arxiv.org/abs/2603.26551')
READ_OFF_A_FIGURE = ('b2', )
# The published weights in timm 1.0.31, in float32 at a crop of 0.95; there are
# none of b2.
EVALUATED = dict(b0=78.388, b1=79.806, b15=81.102, b3=83.656, e1=78.772,
                 e2=81.612, e3=83.044)
# What the papers' text says of other tasks; their tables were not available.
REPORTED_AP = dict(b2='1.0 more than FAT-B0')
REPORTED_MIOU = dict(b1='39.7 (1.7 more than FastViT-SA12)')
EVALUATED_BY = 'reported by timm, https://github.com/huggingface/' \
    'pytorch-image-models'


def count(model: nn.Module, height: int, width: int) -> tuple[int, int]:
    """Parameters, and multiply-accumulates for an image of this size."""
    with torch.device('meta'):
        info = model_info(model.eval(), (height, width))
    return info.parameters, info.macs


def count_frame(tracker: nn.Module, height: int, width: int
                ) -> tuple[int, int]:
    """The same for a frame of a video, given the template's features."""
    size = tracker.template_size
    with torch.device('meta'), torch.no_grad():
        template = tracker.eval().encode(torch.empty(1, 3, size, size))
        with FlopCounterMode(display=False) as counter:
            tracker.search(torch.empty(1, 3, height, width), template)
    parameters = sum(p.numel() for p in tracker.parameters())
    return parameters, counter.get_total_flops() // 2


@dataclass
class Task:
    """Configs of a task, one for each variant, ablation or tracker."""

    name: str
    config: str
    scope: str
    dataset: str
    height: int
    width: int
    metafile: str
    archs: tuple[str, ...] = tuple(LowFormer.arch_settings)
    count: Callable[[nn.Module, int, int], tuple[int, int]] = count
    metric: str = ''
    # By variant.
    reported: dict[str, str] = field(default_factory=dict)


TASKS = (
    Task('Image Classification', 'lowformer_{}_in1k', 'mmpretrain',
         'ImageNet-1K', 224, 224, 'lowformer_metafile.yml'),
    Task('Object Detection', 'retinanet_lowformer_{}_coco', 'mmdet', 'COCO',
         800, 1280, 'retinanet_lowformer_metafile.yml', metric='box AP',
         reported=REPORTED_AP),
    Task('Semantic Segmentation', 'fpn_lowformer_{}_ade20k', 'mmseg',
         'ADE20K', 512, 512, 'fpn_lowformer_metafile.yml', metric='mIoU',
         reported=REPORTED_MIOU),
    Task('Object Tracking', 'track_lowformer_{}_got10k', 'mmlowformer',
         'GOT-10k', 224, 224, 'track_lowformer_metafile.yml',
         ('b0', 'b1', 'b15', 'e2'), count_frame),
    # A frame of 1920x1080 after resizing, padded.
    Task('Multiple Object Tracking', '{}_lowformer_b1_mot17', 'mmdet',
         'MOT17', 640, 1088, 'mot_lowformer_metafile.yml',
         # A tracker has no weights but those of its detector.
         ('bytetrack', 'ocsort'),
         lambda tracker, *size: count(tracker.detector, *size)),
)
# The authors' ablations; the others have no configs.
ABLATION_TASK = Task(
    'Image Classification', 'lowformer_{}_in1k', 'mmpretrain', 'ImageNet-1K',
    224, 224, 'lowformer_ablations_metafile.yml', tuple(ABLATIONS)[:4])


def build(cfg: Config) -> nn.Module:
    init_default_scope(cfg.default_scope)
    with torch.device('meta'):
        return MODELS.build(cfg.model)


def entry(task: Task, arch: str) -> dict:
    """The entry of a config in its metafile."""
    config = task.config.format(arch)
    parameters, macs = task.count(build(get_config(config)), task.height,
                                  task.width)
    result = dict(Task=task.name, Dataset=task.dataset)
    model = {
        'Name': config,
        'In Collection': 'LowFormer',
        'Config': f'configs/{config}.py',
        'Metadata': {
            'Training Data': task.dataset,
            # Multiply-accumulates, as in MMPreTrain's metafiles.
            'FLOPs': macs,
            'Parameters': parameters,
            'Input Size': [task.height, task.width]},
    }
    if task is TASKS[0]:
        result['Metrics'] = {'Top 1 Accuracy': PUBLISHED[arch]}
        result['Source'] = PUBLISHED_BY + (
            ', read off a figure' if arch in READ_OFF_A_FIGURE else '')
        model['Results'] = [result]
        if arch in EVALUATED:
            model['Results'].append(dict(
                result, Metrics={'Top 1 Accuracy': EVALUATED[arch]},
                Source=EVALUATED_BY))
            model['Weights'] = f'hf-hub:timm/lowformer_{arch}.in1k'
    return model


def metafile(task: Task) -> dict:
    collection = dict(Name='LowFormer', Paper=PAPER, README='README.md',
                      Code=dict(URL='https://github.com/altair199797/'
                                'LowFormer'))
    # The collection is described in one metafile only.
    return dict(dict(Collections=[collection]) if task is TASKS[0] else {},
                Models=[entry(task, arch) for arch in task.archs])


def table(header: list[str], rows: list[list]) -> str:
    return markdown(header, [list(map(str, row)) for row in rows]).rstrip()


def millions(value: int, digits: int = 0) -> str:
    return f'{value / 1e6:.{digits}f}'


def backbone_of(arch: str) -> tuple[LowFormer, int, int, int]:
    """A backbone, its parameters, and its MACs at 224x224 and 512x512."""
    with torch.device('meta'):
        model = LowFormer(arch)
    return model, *count(model, 224, 224), count(model, 512, 512)[1]


def variants_table() -> str:
    rows = []
    for arch in LowFormer.arch_settings:
        model, parameters, macs, macs_512 = backbone_of(arch)
        note = ' (read off a figure)' if arch in READ_OFF_A_FIGURE else ''
        rows.append([
            f'`{arch}`' + (' (b1.5)' if arch == 'b15' else ''),
            millions(parameters, 2), millions(macs), millions(macs_512),
            ', '.join(map(str, model.out_channels)),
            f'{PUBLISHED[arch]}{note}'])
    return table(['arch', 'parameters (M)', 'MACs at 224×224 (M)',
                  'MACs at 512×512 (M)', 'channels', 'published top-1'], rows)


def ablations_table() -> str:
    rows = []
    classifier = build(get_config('lowformer_b1_in1k'))
    # All ablations have the head of b1.
    head = [whole - part for whole, part in zip(
        count(classifier, 224, 224), count(classifier.backbone, 224, 224))]
    for arch in ('b1', *ABLATIONS):
        _, parameters, macs, macs_512 = backbone_of(arch)
        rows.append([
            f'`{arch}`', millions(parameters, 2), millions(macs),
            millions(macs_512), millions(parameters + head[0], 2),
            millions(macs + head[1])])
    return table(['arch', 'parameters (M)', 'MACs at 224×224 (M)',
                  'MACs at 512×512 (M)', 'with classifier: parameters (M)',
                  'MACs at 224×224 (M)'], rows)


def task_table(task: Task, content: dict) -> str:
    """The table of a metafile."""
    height, width = content['Models'][0]['Metadata']['Input Size']
    header = ['config', 'parameters (M)', f'MACs at {width}×{height} (G)']
    reported = 'Results' in content['Models'][0]
    if reported:
        header += ['top-1, authors', 'top-1, timm', 'weights']
    if task.metric:
        header += [f'{task.metric}, authors', f'{task.metric}, this config']
    rows = []
    for arch, model in zip(task.archs, content['Models']):
        name, data = model['Name'], model['Metadata']
        row = [f'[`{name}`](../{model["Config"]})',
               millions(data['Parameters'], 2), f'{data["FLOPs"] / 1e9:.2f}']
        if reported:
            metrics = [result['Metrics']['Top 1 Accuracy']
                       for result in model['Results']]
            weights = model.get('Weights')
            row += [*metrics, *['–'] * (2 - len(metrics)),
                    f'`{weights}`' if weights else 'never published']
        if task.metric:
            row += [task.reported.get(arch, 'see the paper'), 'not measured']
        rows.append(row)
    return table(header, rows)


def fill_in(path: Path, tables: dict[str, str]) -> str:
    """The text of a page with new tables between its comments."""
    text = path.read_text(encoding='utf-8')
    for name, content in tables.items():
        pattern = rf'(<!-- table: {name} -->\n).*?(<!-- end of table -->)'
        text, replaced = re.subn(
            pattern, lambda match, new=content: f'{match[1]}{new}\n{match[2]}',
            text, flags=re.S)
        if replaced != 1:
            raise UserError(f'{path} needs one table {name}')
    return text


def generate() -> dict[Path, str]:
    """The text of each file."""
    tasks = (*TASKS, ABLATION_TASK)
    contents = [metafile(task) for task in tasks]
    files = {
        ROOT / 'configs' / task.metafile:
        yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        for task, content in zip(tasks, contents)}
    files[ROOT / 'model-index.yml'] = yaml.safe_dump(
        dict(Import=[f'configs/{task.metafile}' for task in tasks]))
    readme, page, ablations = (ROOT / name for name in (
        'README.md', 'docs/model_zoo.md', 'docs/ablations.md'))
    files[readme] = fill_in(readme, dict(variants=variants_table()))
    files[ablations] = fill_in(ablations, dict(ablations=ablations_table()))
    files[page] = fill_in(page, {
        task.name.lower(): task_table(task, content)
        for task, content in zip(TASKS, contents)})
    return files


def write(check: bool) -> None:
    stale = {path: text for path, text in generate().items()
             if not path.exists() or path.read_text(encoding='utf-8') != text}
    if check and stale:
        raise UserError('out of date, run tools/model_zoo.py: ' + ', '.join(
            str(path.relative_to(ROOT)) for path in stale))
    for path, text in stale.items():
        path.write_text(text, encoding='utf-8')
        print(f'Written: {path.relative_to(ROOT)}')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--check', action='store_true',
                        help='write nothing; fail if a file would change')
    args = parser.parse_args()
    with one_line_errors('model_zoo.py'):
        try:
            write(check=args.check)
        # A page is not text, or is a folder.
        except (OSError, UnicodeError) as error:
            raise UserError(first_line(error)) from error


if __name__ == '__main__':
    main()
