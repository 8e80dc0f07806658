"""Splits flatc's headers in two halves: what everyone needs (enums, unions, native structs) stays as it is, and
what only the codec needs (tables, builders, packing) is compiled where REPRISE_WIRE_TABLES is defined, once.

Each of some 250 translation units would otherwise parse and instantiate all of it: two thirds of the build's time.
Reads the output of flatc 2.0.8 with --gen-object-api; fails when it looks different from that.

Usage: split.py FROM_FOLDER TO_FOLDER
"""
import pathlib
import re
import sys

# A chunk begins in the first column and ends at the next line that closes it there.
CODEC_ONLY = re.compile(
    r'struct \w+ FLATBUFFERS_FINAL_CLASS : private flatbuffers::Table|struct \w+Builder \{|struct \w+::Traits|'
    r'(template<> )?inline ')
FOR_EVERYONE = re.compile(r'inline const (char \*( const \*)?EnumName|\w+ \(&EnumValues)')

# Used elsewhere too, and compiled once.
DECLARED = re.compile(r'inline (bool operator|const flatbuffers::TypeTable \*)')


def chunks(lines):
    chunk = []
    for line in lines:
        chunk.append(line)
        one_line = len(chunk) == 1 and (not line or line.endswith(';') or line.startswith(('#', '//', 'namespace', '}')))
        asserted = chunk[0].startswith('static_assert(') and line.endswith(');')
        if one_line or asserted or line in ('}', '};'):
            yield chunk
            chunk = []
    if chunk:
        sys.exit('split.py: the last definition is not closed: ' + chunk[0])


def fields_that_can_be_named(chunk):
    """Of an update (events/named.h) everyone needs the numbers of the fields: struct UpdateXNamed { enum … { VT_NAME = 6, … }; };"""
    fields = [line for line in chunk if re.match(r'    VT_\w+ = \d+,?$', line)]
    if any(line.startswith('    VT_NAMED = ') for line in fields):
        yield f'struct {chunk[0].split()[1]}Named {{'
        yield '  enum : flatbuffers::voffset_t {'
        yield from fields
        yield '  };'
        yield '};'


def split(lines):
    guarded = 0
    for chunk in chunks(lines):
        first = chunk[0]
        if len(chunk) == 1:
            yield first.removeprefix('inline ')
            continue
        if not CODEC_ONLY.match(first) or FOR_EVERYONE.match(first):
            yield from chunk
            continue
        guarded += 1
        yield from fields_that_can_be_named(chunk)
        if DECLARED.match(first):
            yield first.removeprefix('inline ').removesuffix(' {') + ';'
        yield '#ifdef REPRISE_WIRE_TABLES'
        yield first.removeprefix('inline ')
        yield from chunk[1:]
        yield '#endif'
    if not guarded:
        sys.exit('split.py: no table was found: is this the output of flatc --gen-object-api?')


if __name__ == '__main__':
    source, target = map(pathlib.Path, sys.argv[1:])
    for header in source.glob('*_generated.h'):
        (target / header.name).write_text('\n'.join(split(header.read_text().splitlines())) + '\n')
