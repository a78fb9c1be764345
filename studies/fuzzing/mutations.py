"""What `studies.fuzz` does to a file: changes of bytes, and of words in text."""

import re
from pathlib import Path
from random import Random

_TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|[-+]?\d[\d.eE+-]*|[A-Za-z_]+|[][{}:,=]')
_TEXTS = [
    "null", "true", "{}", "[]", '""', "-1", "0", "1.5", "1e999", "NaN", "-Infinity", "2147483648", "4294967296",
    "18446744073709551616", "9" * 30, "9" * 5000, "[" * 70 + "]" * 70, "[" * 5000 + "]" * 5000,
    '{"a":' * 5000 + "1" + "}" * 5000, '"\\ud800"', '"\\u001b[2J"', '"../../escaped"', '"/etc/passwd"', '"$x_{"',
    '"' + "x" * 300 + '"', '"\\u0000"', "&a [*a]", "*a", "!!python/name:os.system", "2026-11-27", "'''", "\n", "[x]",
    "\x00", "\x1b[31m", "\ufeff", "a.b.c", "like = 'software'",
]  # fmt: skip
_NUMBERS = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, (1 << 64) - 1]


def mutate_bytes(data: bytes, random: Random) -> bytes:
    """One to six changes, of bits, numbers and chunks; half of them lie in the first 512 bytes."""
    content = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 3, 6))):
        size = len(content)
        if not size:
            break
        at = random.randrange(min(size, 512)) if random.random() < 0.5 else random.randrange(size)
        length = random.choice((1, 2, 4, 8, 64, 1024))
        change = random.randrange(7)
        if change == 0:
            content[at] ^= 1 << random.randrange(8)
        elif change == 1:
            content[at] = random.randrange(256)
        elif change == 2:
            width = random.choice((2, 4, 8))
            number = random.choice(_NUMBERS) % (1 << 8 * width)
            content[at : at + width] = number.to_bytes(width, random.choice(("little", "big")))
        elif change == 3:
            del content[at : at + length]
        elif change == 4:
            content[at:at] = content[at : at + length] * random.choice((1, 2, 50))
        elif change == 5:
            content[at:at] = random.randbytes(length)
        else:
            del content[at:]
    return bytes(content)


def mutate_text(text: str, random: Random) -> str:
    """One to four words replaced, removed or doubled."""
    for _ in range(random.choice((1, 1, 2, 4))):
        words = list(_TOKEN.finditer(text))
        if not words:
            return text
        word = random.choice(words)
        new = random.choice([*_TEXTS, *_TEXTS, "", word[0] * 2, random.choice(words)[0]])
        text = text[: word.start()] + new + text[word.end() :]
    return text


def mutate_text_file(data: bytes, random: Random) -> bytes:
    """A text file's words changed, or in one case of five its bytes."""
    if random.random() < 0.2:
        return mutate_bytes(data, random)
    return mutate_text(data.decode(), random).encode("utf-8", "surrogatepass")


def place(path: Path, content: bytes) -> Path:
    """Write the bytes to the path, and return it."""
    path.write_bytes(content)
    return path
