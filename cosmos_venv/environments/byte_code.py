"""The byte code of a new environment is written once, before anybody uses it, by the environment's own Python.

Not by the installers: uv starts a Python for each processor and pip compiles in one; here the Python that checks the
environment anyway does it first, and shares the files with others only where there are many.
"""

from __future__ import annotations

# The line that says that all of it is written; what comes after it is the check's.
WRITTEN = "cosmos-venv: byte code written"

# Run with the folders as arguments. What cannot be compiled is no failure (packages bring templates and tests for other
# Pythons), nor is it one for pip; a disk that takes no more is.
COMPILE = f"""
def compile_all(folders, files_each=150, most=8):
    import errno, os, py_compile, sys, warnings
    from importlib.util import cache_from_source

    def sources():
        for top in folders:
            for folder, below, names in os.walk(top):
                if "__pycache__" in below:
                    below.remove("__pycache__")
                yield from (os.path.join(folder, name) for name in names if name.endswith(".py"))

    def write(files):
        for file in files:
            try:
                if not os.path.exists(cache_from_source(file)):
                    py_compile.compile(file, doraise=True)
            except py_compile.PyCompileError:
                pass
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS):
                    print(f"byte code cannot be written: {{error}}", flush=True)
                    return 1
        return 0

    files = list(sources())
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shares = max(1, min(processors, most, len(files) // files_each))
    helpers = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(1, shares):
            pid = os.fork()
            if not pid:
                status = 1
                try:
                    status = write(files[number::shares])
                finally:
                    os._exit(status)
            helpers.append(pid)
        failed = write(files[::shares])
    for pid in helpers:
        failed |= os.waitpid(pid, 0)[1]
    if failed:
        sys.exit(1)

import sys
compile_all(sys.argv[1:])
print({WRITTEN!r}, flush=True)
del compile_all, sys
"""
