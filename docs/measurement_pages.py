"""The full tables of each measurement, on a page beside its JSON file."""
import json
from pathlib import Path

from mmlowformer.benchmark import paper_claims, report, scale
from mmlowformer.benchmark.record import flatten
from mmlowformer.study import tables

DOCS = Path(__file__).parent
FOLDERS = ('benchmark', 'scale', 'study')


def measurement_pages() -> dict[Path, str]:
    """The text of each page, by its file."""
    return {file.with_suffix('.md'): _page(file) for folder in FOLDERS
            for file in sorted((DOCS / folder).glob('*.json'))}


def write_pages() -> None:
    """Write the pages that changed; Sphinx builds those again."""
    for path, text in measurement_pages().items():
        if not path.exists() or path.read_text(encoding='utf-8') != text:
            path.write_text(text, encoding='utf-8')


def _page(file: Path) -> str:
    record = json.loads(file.read_text(encoding='utf-8'))
    pictures = [f'![{path.stem}]({path.name})\n'
                for path in sorted(file.parent.glob(f'{file.stem}*.png'))]
    parts = [f'---\norphan: true\n---\n\n# Measurements in {file.name}\n',
             _tables(record, file), _environment(record), *pictures,
             f'All values: {{download}}`{file.name}`.\n']
    return '\n'.join(filter(None, parts))


def _tables(record: dict, file: Path) -> str:
    if 'study' in record:
        return tables.as_markdown(record)
    if 'scale' in record:
        machine = report.describe_machine(record['environment'])
        return '\n'.join([f'{machine}\n', *scale.tables(record)])
    if 'claims' in record:
        parts = sorted(file.parent.glob(f'{file.stem}_*_*x*.json'))
        return report.markdown(
            paper_claims.HEADER, paper_claims.table_rows(record['claims'])
        ) + '\nThe times are in\n\n' + ''.join(
            f'- [{part.stem}]({part.stem}.md)\n' for part in parts)
    return '\n'.join([f'{report.describe(record)}\n', *report.tables(record)])


def _environment(record: dict) -> str:
    if 'environment' not in record:
        return ''
    rows = [[name, str(value)]
            for name, value in flatten(record['environment']).items()
            if value is not None]
    return f'## Environment\n\n{report.markdown(["setting", "value"], rows)}'
