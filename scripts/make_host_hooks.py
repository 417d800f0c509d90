#!/usr/bin/python3
"""Writes vklayer/host_hooks.def from Vulkan's C header.

    scripts/make_host_hooks.py /usr/include/vulkan/vulkan_core.h > vklayer/host_hooks.def

Taken are the commands of a device, a queue or a command buffer that are given
VkAllocationCallbacks, and a few others in which drivers allocate. Commands that
record (vkCmd*) are never taken.
"""
import re
import sys

OTHERS = """AllocateCommandBuffers AllocateDescriptorSets BeginCommandBuffer EndCommandBuffer ResetCommandPool
ResetDescriptorPool QueueSubmit QueueSubmit2 QueueSubmit2KHR QueueBindSparse QueuePresentKHR MapMemory
BindBufferMemory BindBufferMemory2 BindBufferMemory2KHR BindImageMemory BindImageMemory2 BindImageMemory2KHR
AcquireNextImageKHR AcquireNextImage2KHR GetSwapchainImagesKHR MergePipelineCaches GetPipelineCacheData
BuildAccelerationStructuresKHR""".split()
# These have a place of their own in the layer.
ELSEWHERE = ["CreateDevice", "DestroyDevice", "CreateInstance", "DestroyInstance"]
FIRST = ("VkDevice", "VkQueue", "VkCommandBuffer")

HEAD = """/*
 * The commands in which drivers allocate host memory, one line each: what they
 * return, their name, their parameters, and their arguments with `allocator`
 * in place of the program's. Made by scripts/make_host_hooks.py from Vulkan's
 * header; commands newer than that are passed on as they are.
 *
 * MT_HOST_RESULT(Name, First, Allocator, Parameters, Arguments): returns VkResult
 * MT_HOST_VOID(Name, First, Allocator, Parameters, Arguments):   returns nothing
 */
#ifndef MT_HOST_RESULT
#define MT_HOST_RESULT(Name, First, Allocator, Parameters, Arguments) MT_HOST_VOID(Name, First, Allocator, Parameters, Arguments)
#endif

/* clang-format off */
"""
TAIL = """/* clang-format on */

#undef MT_HOST_RESULT
#undef MT_HOST_VOID
"""


def parameters_of(text):
    words = [" ".join(part.split()) for part in text.split(",")]
    return [(word, re.search(r"(\w+)(\[\d+\])?$", word).group(1)) for word in words]


def main():
    text = open(sys.argv[1]).read()
    lines = []
    for result, name, inside in re.findall(r"typedef (\w+) \(VKAPI_PTR \*PFN_vk(\w+)\)\(([^;]*)\);", text):
        if name in ELSEWHERE or name.startswith("Cmd") or result not in ("VkResult", "void"):
            continue
        parameters = parameters_of(inside)
        if parameters[0][0].split()[0] not in FIRST:
            continue
        has_callbacks = any("VkAllocationCallbacks" in word for word, _ in parameters)
        if not has_callbacks and name not in OTHERS:
            continue
        arguments = ["allocator" if "VkAllocationCallbacks" in word else what for word, what in parameters]
        lines.append("%s(%s, %s, %s, (%s), (%s))" % (
            "MT_HOST_RESULT" if result == "VkResult" else "MT_HOST_VOID", name, parameters[0][1],
            "pAllocator" if has_callbacks else "NULL", ", ".join(word for word, _ in parameters),
            ", ".join(arguments)))
    sys.stdout.write(HEAD + "\n".join(lines) + "\n" + TAIL)


main()
