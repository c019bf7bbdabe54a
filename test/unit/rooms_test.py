"""The table of rooms holds: every #include in src/ and include/ is one that src/rooms.txt allows.

    rooms_test.py PROJECT

Also shown: that the check can fail, by running it on lines that break each of its rules.
"""
import pathlib
import re
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^">]+)[">]', re.M)

# How a header's name begins, for each word of a "lib" line of the table.
LIBRARIES = {
    'openssl': ('openssl/',),
    'zstd': ('zstd.h', 'zstd_errors.h', 'zdict.h'),
    'lz4': ('lz4.h', 'lz4hc.h', 'lz4frame.h'),
    'xxhash': ('xxhash.h', 'xxh3.h'),
    'sqlite3': ('sqlite3.h', 'sqlite3ext.h'),
    'ini': ('ini.h',),
    'jansson': ('jansson.h',),
    'curl': ('curl/',),
    'expat': ('expat.h',),
    'libpq': ('libpq-fe.h', 'libpq/'),
}

# libc, Linux and the compiler; whatever is neither here nor a library of the table is refused.
SYSTEM = re.compile(
    r'^(sys|linux|asm|netinet|arpa|net)/|^('
    'assert|ctype|dirent|dlfcn|endian|errno|fcntl|fnmatch|ftw|getopt|glob|grp|immintrin|inttypes|langinfo|limits|locale|malloc|'
    'math|netdb|poll|pthread|pwd|regex|sched|search|semaphore|setjmp|signal|spawn|stdalign|stdarg|stdatomic|'
    'stdbool|stddef|stdint|stdio|stdlib|stdnoreturn|string|strings|termios|time|unistd|wchar|wordexp|utime'
    r')\.h$')


def read_table(path):
    rooms, libraries = {}, {}
    for line in path.read_text().splitlines():
        line = line.split('#')[0].strip()
        if not line:
            continue
        left, right = (part.strip() for part in line.split(':', 1))
        if left.startswith('lib '):
            libraries[left[4:].strip()] = right.split()
        else:
            rooms[left] = right.split()
    return rooms, libraries


def library_of(header):
    for name, beginnings in LIBRARIES.items():
        if any(header == b or (b.endswith('/') and header.startswith(b)) for b in beginnings):
            return name
    return None


def is_below(folder, allowed):
    """'source/sqlite' is allowed to 'source/sqlite' and below; 'codec' to all of codec."""
    return any(folder == a or folder.startswith(a + '/') for a in allowed)


def judge(folder, kind, header, rooms, libraries, own_headers):
    """None, or why a file in src/<folder> may not include `header`."""
    room = folder.split('/')[0]
    library = library_of(header)
    if library is not None:
        if not is_below(folder, libraries.get(library, [])):
            return f'{library} belongs to {", ".join(libraries.get(library, [])) or "no room"}'
        return None
    if kind == '<':
        return None if SYSTEM.match(header) else 'neither libc nor a library of the table'
    if header == 'canvasback.h':
        return None if room == 'include' or 'include' in rooms[room] else 'the public header is not for this room'
    if '/' not in header:
        return None if (folder, header) in own_headers else 'no such header in the same folder'
    other = header.split('/')[0]
    if other not in rooms:
        return f'there is no room {other}'
    if other != room and other not in rooms[room]:
        return f'{room} may not use {other}'
    if other != room and header.endswith('_internal.h'):
        return f'private to {other}'
    return None


def check(root):
    rooms, libraries = read_table(root / 'src/rooms.txt')
    problems = []
    files = [(p, str(p.parent.relative_to(root / 'src'))) for p in sorted((root / 'src').rglob('*.[ch]'))]
    files += [(p, 'include') for p in sorted((root / 'include').rglob('*.h'))]
    own = {(folder, path.name) for path, folder in files}
    for path, folder in files:
        if folder.split('/')[0] not in rooms:
            problems.append(f'{path.relative_to(root)}: is in no room of src/rooms.txt')
            continue
        for kind, header in INCLUDE.findall(path.read_text()):
            why = judge(folder, kind, header, rooms, libraries, own)
            if why:
                problems.append(f'{path.relative_to(root)}: #include of {header}: {why}')
    return problems, len(files)


def check_the_check(root):
    rooms, libraries = read_table(root / 'src/rooms.txt')
    wrong = [('base', '"', 'codec/hash.h'), ('repo', '"', 'source/source.h'), ('storage', '<', 'zstd.h'),
             ('repo', '<', 'openssl/evp.h'), ('command', '"', 'storage/file_store_internal.h'),
             ('cli', '"', 'repo/repo.h'), ('source/duckdb', '<', 'sqlite3.h'), ('base', '<', 'boost/any.h'),
             ('base', '"', 'attic/x.h'), ('base', '"', 'nothing.h')]
    right = [('codec', '"', 'base/bytes.h'), ('codec', '<', 'zstd.h'), ('source/sqlite', '<', 'sqlite3.h'),
             ('base', '"', 'canvasback.h'), ('command', '"', 'repo/repo.h'), ('base', '<', 'sys/stat.h')]
    for folder, kind, header in wrong:
        assert judge(folder, kind, header, rooms, libraries, set()), (folder, header)
    for folder, kind, header in right:
        assert not judge(folder, kind, header, rooms, libraries, set()), (folder, header)


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2])
    check_the_check(root)
    problems, count = check(root)
    for problem in problems:
        print(problem)
    print(f'{count} files looked at, {len(problems)} problems')
    sys.exit(1 if problems or count == 0 else 0)


main()
