#!/usr/bin/env python3
"""Adds up device memory from a gfxreconstruct call log (gfxrecon-convert's JSON Lines).

Prints, for each VkDevice in order of creation, the same words as segment_totals does, so that the
two can be compared. An independent count: it knows nothing of memtrack.
"""
import json
import sys

IMPORTS = ("VK_STRUCTURE_TYPE_IMPORT_MEMORY_", "VK_STRUCTURE_TYPE_IMPORT_ANDROID", "VK_STRUCTURE_TYPE_IMPORT_SCREEN")


def chain(structure):
    at = structure.get("pNext")
    while at:
        yield at
        at = at.get("pNext")


def is_import(info):
    return any(str(s.get("sType", "")).startswith(IMPORTS) and s.get("handleType", 1) not in (0, None)
               for s in chain(info))


class Device:
    def __init__(self):
        self.live = {}
        self.allocations = self.frees = self.total = self.current = self.peak = 0
        self.imports = self.import_frees = self.import_bytes = 0

    def allocate(self, handle, size, imported):
        self.live[handle] = (size, imported)
        if imported:
            self.imports += 1
            self.import_bytes += size
            return
        self.allocations += 1
        self.total += size
        self.current += size
        self.peak = max(self.peak, self.current)

    def free(self, handle):
        if handle not in self.live:
            return
        size, imported = self.live.pop(handle)
        if imported:
            self.import_frees += 1
        else:
            self.frees += 1
            self.current -= size

    def line(self):
        return (f"allocations={self.allocations} frees={self.frees} total_bytes={self.total} "
                f"current_bytes={self.current} peak_bytes={self.peak} imports={self.imports} "
                f"import_frees={self.import_frees} import_bytes={self.import_bytes}")


def main():
    devices, presents = {}, 0
    with open(sys.argv[1], encoding="utf-8", errors="replace") as file:
        for line in file:
            if not any(word in line for word in ('"vkAllocateMemory"', '"vkFreeMemory"', '"vkCreateDevice"', '"vkQueuePresentKHR"')):
                continue
            call = json.loads(line).get("vkFunc")
            if not call:
                continue
            args = call["args"]
            if call["name"] == "vkCreateDevice" and call["return"] == "VK_SUCCESS":
                devices[args["pDevice"]] = Device()
            elif call["name"] == "vkAllocateMemory" and call["return"] == "VK_SUCCESS":
                info = args["pAllocateInfo"]
                devices[args["device"]].allocate(args["pMemory"], info["allocationSize"], is_import(info))
            elif call["name"] == "vkFreeMemory" and args["memory"]:
                devices[args["device"]].free(args["memory"])
            elif call["name"] == "vkQueuePresentKHR":
                presents += 1
    for device in devices.values():
        print(f"{device.line()} frames={presents}")


main()
