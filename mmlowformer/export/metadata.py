"""What a file says about itself, whatever else is lost."""
import json
from dataclasses import replace

from ..runtime.model_spec import Description

# Of ours in the files' own metadata.
KEY = 'mmlowformer'


def metadata(description: Description) -> dict[str, str]:
    """What a file says about itself: the whole, and the usual at hand."""
    # They are of the file, which would change with them.
    whole = replace(description, sha256={}, verification={})
    return {KEY: json.dumps(vars(whole)), 'task': description.task,
            'names': json.dumps(dict(enumerate(description.classes))),
            'channel_order': description.input['channel_order'],
            'precision': description.precision}
