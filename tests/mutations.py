"""What stands in strangers' files, for tests of whatever reads them."""
import copy
import json
import re

# Of values and marks, as they are and as nobody expects them.
ODD = ('null', '[]', '{}', '[[]]', '-1', '1e999', 'NaN', '9' * 400, 'true',
       '"\\ud800"', '"\x00"', '"' + 'x' * 5000 + '"', '\ufffe', '', '..',
       '<', '&x;', '[' * 3000, '0.1 ' * 50, '\n', '"', ',')
VALUES = (None, [], {}, [[]], [None], -1, 0, 1, 1.5, 1e999, float('nan'),
          10 ** 400, True, '', 'x' * 5000, '\ud800', '\x00', '../a.jpg',
          [1, 2], [1, 2, 3, 4], [['a'] * 6], dict(a=1), dict(size=[20, 40]))
# What Python says about itself, and nobody else understands.
INTERNAL = re.compile(
    r'object has no attribute|NoneType|index out of range|list ind|KeyError|'
    r'unpack|not iterable|not subscriptable|not supported between|'
    r'TypeError|ValueError|AttributeError|argument of|invalid literal|'
    r'codec can|unsupported operand|recursion|ufunc|embedded null')


def _places(tree):
    """Each container of a tree of JSON, with each of its keys."""
    for key, value in (tree.items() if isinstance(tree, dict) else
                       enumerate(tree)):
        yield tree, key
        if isinstance(value, (dict, list)):
            yield from _places(value)


def mutated(chance, content):
    """A text whose tokens, or a file whose bytes, were changed at random."""
    if isinstance(content, str) and content[0] == '{' and chance.random() < .7:
        tree = json.loads(content)
        for _ in range(chance.choice((1, 1, 2))):
            if not tree:
                break
            container, key = chance.choice(list(_places(tree)))
            if chance.random() < .2:
                del container[key]
            else:
                container[key] = copy.deepcopy(chance.choice(VALUES))
        return json.dumps(tree).encode()
    if isinstance(content, str):
        tokens = re.findall(r'[\w.]+|\W', content)
        for _ in range(chance.choice((1, 1, 2))):
            tokens[chance.randrange(len(tokens))] = chance.choice(ODD)
        return ''.join(tokens).encode('utf-8', 'surrogatepass')
    data = bytearray(content)
    for _ in range(chance.choice((1, 2, 4))):
        place = chance.randrange(len(data))
        data[place] = chance.choice((0, 255, data[place] ^ 1))
    return bytes(data[:chance.choice((len(data), len(data), place, 0))])


def check_message(message, folder):
    """One line that is not endless, names the file, and is not Python's."""
    assert str(folder) in message
    assert '\n' not in message
    assert len(message) < 2500
    assert not INTERNAL.search(message), message
