"""Counts the instructions of one call through the window image, function by function, by single steps.

The ring benchmark loads the image as the monitor does, at the addresses of the window view, so GDB can step through a
call as it is released. From the project's folder, with GDB and a built benchmark (`cargo xtask bench rings` builds it):

    gdb -batch -x bench/steps.py --args target/release/ring-bench \
        --window target/x86_64-unknown-none/release/window \
        --impl sluice-window --ring split --frame 64 --burst 32 --cores 1 --turns 1 > /dev/null

GDB shows each step on standard output, so the counts go to standard error. The third call is counted: by then every queue is attached and in use.
"""

import collections

import gdb

ENTRY, END = 0x400000100000, 0x400000110000  # abi/src/map.rs: SLOT_VA + CODE, and 64 KiB of code
WINDOW = "target/x86_64-unknown-none/release/window"
WARM = 2


def function_at(address, cache={}):
    if address not in cache:
        text = gdb.execute(f"info symbol {address:#x}", to_string=True)
        cache[address] = text.split(" in section")[0].split(" + ")[0]
    return cache[address]


gdb.execute("set pagination off")
gdb.execute("set confirm off")
gdb.execute("set breakpoint pending on")
gdb.execute("starti", to_string=True)
gdb.execute(f"add-symbol-file {WINDOW}", to_string=True)
gdb.execute(f"hbreak *{ENTRY:#x}", to_string=True)
for _ in range(WARM + 1):
    gdb.execute("continue", to_string=True)
gdb.execute("delete", to_string=True)
counts = collections.Counter()
address = int(gdb.parse_and_eval("(unsigned long) $pc"))
while ENTRY <= address < END:
    counts[function_at(address)] += 1
    gdb.execute("stepi", to_string=True)
    address = int(gdb.parse_and_eval("(unsigned long) $pc"))
for name, count in counts.most_common():
    gdb.write(f"{count:6} {name}\n", gdb.STDERR)
gdb.write(f"{sum(counts.values()):6} in all\n", gdb.STDERR)
gdb.execute("kill", to_string=True)
