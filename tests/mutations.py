"""What stands in strangers' files, for tests of whatever reads them."""
import re

# Of values and marks, as they are and as nobody expects them.
ODD = ('null', '[]', '{}', '[[]]', '-1', '1e999', 'NaN', '9' * 400, 'true',
       '"\\ud800"', '"\x00"', '"' + 'x' * 5000 + '"', '\ufffe', '', '..',
       '<', '&x;', '[' * 3000, '0.1 ' * 50, '\n', '"', ',')
# What Python says about itself, and nobody else understands.
INTERNAL = re.compile(
    r'object has no attribute|NoneType|index out of range|list ind|KeyError|'
    r'unpack|not iterable|not subscriptable|not supported between|'
    r'TypeError|ValueError|AttributeError|argument of|invalid literal|'
    r'codec can|unsupported operand|recursion|NoneType|ufunc|embedded null')


def mutated(chance, content):
    """A text whose tokens, or a file whose bytes, were changed at random."""
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
