"""The byte code of a new environment is written once, before anybody uses it, by the environment's own Python.

Not by the installers: uv starts a Python for each processor and pip compiles in one; here the Python that checks the
environment anyway does it first, and shares the files with others only where there are many.
"""

from __future__ import annotations

# What ends the output of this part; what comes after it is the check's.
WRITTEN = "cosmos-venv: byte code written"

# Run with the source of the check and the folders as arguments. What cannot be read or compiled is no failure (packages
# bring templates and tests for other Pythons), nor is it one for pip; what cannot be written is.
COMPILE_AND_CHECK = f"""
import sys

def compile_all(folders, files_each=150, most=8):
    import errno, importlib.util, marshal, os, warnings
    from importlib.machinery import SourceFileLoader

    def sources():
        for top in folders:
            for folder, below, names in os.walk(top):
                if "__pycache__" in below:
                    below.remove("__pycache__")
                yield from (os.path.join(folder, name) for name in names if name.endswith(".py"))

    def compiled(file):
        loader = SourceFileLoader("byte_code", file)
        status = os.stat(file)
        # PEP 552: magic number, flags (0: judged by time and size), time, size.
        numbers = (0, int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF)
        head = importlib.util.MAGIC_NUMBER + b"".join(number.to_bytes(4, "little") for number in numbers)
        return head + marshal.dumps(loader.source_to_code(loader.get_data(file), file))

    def write(files):
        for file in files:
            target = importlib.util.cache_from_source(file)
            if os.path.exists(target):
                continue
            try:
                content = compiled(file)
            except Exception:
                continue
            apart = f"{{target}}.{{os.getpid()}}"
            try:
                os.makedirs(os.path.dirname(target), exist_ok=True)
                # Not as importlib writes it, which takes a file that was cut short by a full disk for a whole one.
                with open(apart, "wb") as file_apart:
                    file_apart.write(content)
                os.replace(apart, target)
            except OSError as error:
                if error.errno == errno.ENAMETOOLONG:
                    continue
                print(f"byte code cannot be written: {{error}}", flush=True)
                return 1
        return 0

    files = list(sources())
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shares = max(1, min(processors, most, len(files) // files_each))
    own, helpers = files[::shares], {{}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(1, shares):
            try:
                pid = os.fork()
            except OSError:  # no process more: it takes longer
                own = own + files[number::shares]
                continue
            if not pid:
                status = 2
                try:
                    status = write(files[number::shares])
                finally:
                    os._exit(status)
            helpers[pid] = number
        failed = write(own)
        for pid, number in helpers.items():
            status = os.waitpid(pid, 0)[1]
            if status:  # it has told why, or died: what it has not done is tried here
                failed |= write(files[number::shares])
    return failed

if compile_all(sys.argv[2:]):
    sys.exit(1)
print({WRITTEN!r}, flush=True)
exec(compile(sys.argv[1], "<check>", "exec"), {{"__name__": "__main__"}})
"""

# Run with folders as arguments: names each file of byte code that Python would take for its source's and cannot read. A
# broken one is an error of the import, whatever its source.
CHECK = """
import importlib.util, marshal, os, sys

for top in sys.argv[1:]:
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            if not path.endswith("." + sys.implementation.cache_tag + ".pyc"):
                continue
            if not os.path.isfile(path):
                print(os.path.relpath(path, top), "is no file")
                continue
            try:
                with open(path, "rb") as file:
                    content = file.read()
                # What is shorter than its head, or begins with another Python's, is written anew by an import.
                if len(content) >= 16 and content[:4] == importlib.util.MAGIC_NUMBER:
                    marshal.loads(content[16:])
            except OSError as error:
                print(os.path.relpath(path, top), "cannot be read:", error.strerror)
            except Exception as error:
                print(os.path.relpath(path, top), "is broken:", error)
"""
